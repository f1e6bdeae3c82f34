// SPDX-License-Identifier: Apache-2.0
use std::process::ExitCode;

use clap::Parser as _;

use super::command::Arguments;
use super::logging;

/// Parses the arguments, executes the subcommand and returns its exit status.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::start(arguments.verbose);
    let exit = arguments.command.execute().unwrap_or_else(|failure| {
        failure.print();
        failure.exit
    });
    exit.into()
}
