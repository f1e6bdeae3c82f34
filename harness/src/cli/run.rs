// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use clap::Args;

use super::execution::{RunOptions, execute};
use super::parent::Parent;
use super::plan_inputs::PlanInputs;
use super::schedule::ScheduleArguments;
use super::{Exit, Failure, detached, runtime};
use crate::runner::KeepPolicy;

/// Arguments of `loadgauge run`.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    inputs: PlanInputs,
    /// Run every scenario that starts warm a second time with a cold start, and fail if the outcomes
    /// differ
    #[arg(long)]
    verify_warm: bool,
    #[command(flatten)]
    schedule: ScheduleArguments,
    /// Directory for the files of the run [default: a new directory in loadgauge-runs]
    #[arg(short, long, value_name = "DIR")]
    output: Option<Utf8PathBuf>,
}

/// Runs scenarios. Where their machines may outlive the run, a detached process does it.
pub(super) fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    match arguments.schedule.keep {
        KeepPolicy::Never => run_here(arguments, None),
        KeepPolicy::OnFailure | KeepPolicy::Always => detached::run(),
    }
}

/// Runs scenarios in this process. With a parent, it returns when the last machine that was left
/// running has ended.
pub(super) fn run_here(arguments: &RunArguments, parent: Option<&Parent>) -> Result<Exit, Failure> {
    let runtime = runtime::start()?;
    let (context, plan, starter) = arguments.inputs.plan(&runtime, arguments.schedule.repeat.get())?;
    let options = RunOptions {
        output: arguments.output.as_deref(),
        schedule: &arguments.schedule,
        verify_warm: arguments.verify_warm,
    };
    execute(runtime, &context, plan, starter, &options, parent)
}
