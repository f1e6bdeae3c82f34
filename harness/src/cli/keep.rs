// SPDX-License-Identifier: Apache-2.0
use clap::{Args, Subcommand};

use super::parent::Parent;
use super::run::{RunArguments, run_here};
use super::{Exit, Failure};

/// Arguments of `loadgauge keep`.
#[derive(Debug, Args)]
pub(super) struct KeepArguments {
    /// Number of the process that waits for the run
    #[arg(long)]
    parent: i32,
    #[command(subcommand)]
    command: KeepCommand,
}

/// The commands whose machines can outlive them.
#[derive(Debug, Subcommand)]
enum KeepCommand {
    /// Run scenarios
    Run(RunArguments),
}

/// Executes a run on behalf of a parent (see `detached`).
pub(super) fn run(arguments: &KeepArguments) -> Result<Exit, Failure> {
    let parent = Parent::attach(arguments.parent)?;
    let KeepCommand::Run(arguments) = &arguments.command;
    run_here(arguments, Some(&parent))
}
