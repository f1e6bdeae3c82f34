// SPDX-License-Identifier: Apache-2.0
use clap::{Parser, Subcommand};

use loadgauge_host::{Store, scratch};

use super::boot::BootArguments;
use super::build::BuildArguments;
use super::doctor::DoctorArguments;
use super::ignition::IgnitionArguments;
use super::image::ImageCommand;
use super::keep::KeepArguments;
use super::list::ListArguments;
use super::plan::PlanArguments;
use super::relay::RelayArguments;
use super::report::ReportArguments;
use super::run::RunArguments;
use super::snapshot::SnapshotCommand;
use super::stop::StopArguments;
use super::try_extension::TryArguments;
use super::{
    Exit, Failure, boot, build, doctor, exit, ignition, image, keep, list, plan, relay, report, run, signals,
    snapshot, stop, try_extension,
};

/// Build system extensions for Flatcar, boot images with them under QEMU and check that they work
#[derive(Debug, Parser)]
#[command(name = "loadgauge", version, max_term_width = 100, after_help = exit::help())]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,

    /// Log more: -v for progress, -vv for every command and message
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

/// The subcommands, in the order of `--help`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Boot the machines of the selected scenarios and run their checks
    Run(RunArguments),
    /// Print what `run` would do, without booting
    Plan(PlanArguments),
    /// List the scenarios
    List(ListArguments),
    /// Build an extension from a recipe
    Build(BuildArguments),
    /// Print the Ignition config of the guest of a scenario
    Ignition(IgnitionArguments),
    /// Build, list, inspect, verify and prune images
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// List and prune snapshots of booted machines
    Snapshot {
        #[command(subcommand)]
        command: SnapshotCommand,
    },
    /// Write the reports of an earlier run again, from its events
    Report(ReportArguments),
    /// Boot an image and open a shell in the guest
    Boot(BootArguments),
    /// Merge an extension in a running guest and check it, within seconds
    Try(TryArguments),
    /// Check the tools and resources of this host
    Doctor(DoctorArguments),
    /// Stop machines that `run --keep` left running
    Stop(StopArguments),
    /// Run scenarios in a process that outlives its parent (started by `run --keep`)
    #[command(hide = true)]
    Keep(KeepArguments),
    /// Connect standard input and output to a socket (started by QEMU for each connection of a guest)
    #[command(hide = true)]
    Relay(RelayArguments),
}

impl Command {
    /// Executes the subcommand.
    pub(super) fn execute(&self) -> Result<Exit, Failure> {
        // A relay has no children and no files.
        if !matches!(self, Self::Relay(_)) {
            signals::listen()?;
            // What was left by processes that were killed.
            scratch::sweep(&std::env::temp_dir());
            if let Ok(store) = Store::of_user() {
                store.recover();
            }
        }
        match self {
            Self::Run(arguments) => run::run(arguments),
            Self::Plan(arguments) => plan::run(arguments),
            Self::List(arguments) => list::run(arguments),
            Self::Build(arguments) => build::run(arguments),
            Self::Ignition(arguments) => ignition::run(arguments),
            Self::Image { command } => image::run(command),
            Self::Snapshot { command } => snapshot::run(command),
            Self::Report(arguments) => report::run(arguments),
            Self::Boot(arguments) => boot::run(arguments),
            Self::Try(arguments) => try_extension::run(arguments),
            Self::Doctor(arguments) => doctor::run(arguments),
            Self::Stop(arguments) => stop::run(arguments),
            Self::Keep(arguments) => keep::run(arguments),
            Self::Relay(arguments) => Ok(relay::run(arguments)),
        }
    }
}
