// SPDX-License-Identifier: Apache-2.0
//! The command line: one file per subcommand.
//!
//! Arguments are parsed into `arguments`, and each subcommand turns them into what the stages
//! take. What a program would read goes to standard output, everything else to standard error.
mod arguments;
mod boot;
mod build;
mod compare_warm_cold;
mod context;
mod doctor;
mod exit;
mod exit_codes;
mod failure;
mod ignition;
mod image;
mod image_build;
mod image_inspect;
mod image_page;
mod image_prune;
mod image_verify;
mod keep;
mod list;
mod output;
mod plan;
mod report;
mod run;
mod schedule;
mod snapshot;
mod start;
mod stop;
mod try_extension;
mod vendor;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use camino::Utf8Path;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

pub use exit::Exit;
pub use failure::Failure;

use arguments::{Arguments, Command, ImageCommand};

/// Parses the arguments, does what they ask and gives the exit status.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(match &arguments.command {
        Command::Keep(keep) => keep.own().verbose,
        _ => arguments.verbose,
    });
    match dispatch(arguments.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Plan(arguments) => plan::plan(&arguments),
        Command::List(arguments) => list::list(&arguments),
        Command::Build(arguments) => build::build(&arguments),
        Command::Ignition(arguments) => ignition::ignition(&arguments),
        Command::Image { command: ImageCommand::Build(arguments) } => image_build::build(&arguments),
        Command::Image { command: ImageCommand::Inspect(arguments) } => image_inspect::inspect(&arguments),
        Command::Image { command: ImageCommand::List } => image::list(),
        Command::Image { command: ImageCommand::Prune(arguments) } => image_prune::prune(&arguments),
        Command::Image { command: ImageCommand::Verify(arguments) } => image_verify::verify(&arguments),
        Command::Snapshot { command } => snapshot::snapshot(&command),
        Command::Report(arguments) => report::report(&arguments),
        Command::Boot(arguments) => boot::boot(&arguments),
        Command::Try(arguments) => try_extension::trial(&arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Stop(arguments) => stop::stop(&arguments),
        Command::Keep(arguments) => keep::keep(&arguments),
        Command::Relay { socket } => Ok(relay(&socket)),
    }
}

/// Ties a guest's connection to the harness. What goes wrong is only told by the status: QEMU ties
/// standard error to the connection as well, where any word would be taken for the harness's answer.
fn relay(socket: &Utf8Path) -> Exit {
    match crate::machine::relay(socket) {
        Ok(()) => Exit::Passed,
        Err(_) => Exit::Internal,
    }
}

/// Whether standard error shows colours, and the user wants them (<https://no-color.org>).
fn is_colored() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Sends messages to standard error: those that `LOADGAUGE_LOG` asks for, in the syntax of
/// `RUST_LOG`, or as many as there are `-v`.
fn log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "loadgauge=info,loadgauge_images=info,warn",
        _ => "loadgauge=debug,loadgauge_images=debug,loadgauge_ignition=debug,info",
    };
    let filter = EnvFilter::try_from_env("LOADGAUGE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_colored())
        .with_target(false)
        .without_time()
        .init();
}
