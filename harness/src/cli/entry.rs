// SPDX-License-Identifier: Apache-2.0
use std::io;
use std::process::ExitCode;

use clap::Parser as _;

use super::command::Arguments;
use super::{Exit, Failure, logging};

/// Parses the arguments, executes the subcommand and returns its exit status.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_a_command(&error),
    };
    logging::start(arguments.verbose);
    let exit = arguments.command.execute().unwrap_or_else(|failure| {
        failure.print();
        failure.exit
    });
    exit.into()
}

/// Prints the help that was asked for, or what is wrong with the arguments. Help that cannot be written is an error;
/// a reader that closed its end early is not.
fn not_a_command(error: &clap::Error) -> ExitCode {
    let printed = error.print().err().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
    match (error.use_stderr(), printed) {
        (true, _) => Exit::Usage.into(),
        (false, None) => Exit::Passed.into(),
        (false, Some(error)) => {
            Failure::new(Exit::Internal, format!("cannot write to standard output: {error}")).print();
            Exit::Internal.into()
        }
    }
}
