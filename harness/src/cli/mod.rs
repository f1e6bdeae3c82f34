// SPDX-License-Identifier: Apache-2.0
//! The command line: one file per subcommand.
use std::process::ExitCode;

/// Parses the arguments, does what they ask and gives the exit status.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
