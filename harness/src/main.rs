// SPDX-License-Identifier: Apache-2.0
//! The `loadgauge` command.
use std::process::ExitCode;

fn main() -> ExitCode {
    loadgauge::cli::main()
}
