// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use clap::Args;

use super::context::Context;
use super::execution::{RunOptions, execute};
use super::image_choice::ImageOption;
use super::machine_choice::MachineChoice;
use super::parent::Parent;
use super::schedule::ScheduleArguments;
use super::selection::Selection;
use super::start::StartArguments;
use super::{Exit, Failure, detached, runtime};
use crate::machine::MachinePlan;
use crate::runner::KeepPolicy;

/// Arguments of `loadgauge run`.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    image: ImageOption,
    #[command(flatten)]
    machine: MachineChoice,
    #[command(flatten)]
    start: StartArguments,
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
    let (context, scenarios) = Context::with_scenarios(&arguments.selection, &arguments.image)?;
    let runtime = runtime::start()?;
    let acceleration = runtime.block_on(context.prove(arguments.machine.accel))?;
    let options = RunOptions {
        output: arguments.output.as_deref(),
        start: &arguments.start,
        schedule: &arguments.schedule,
        verify_warm: arguments.verify_warm,
    };
    let starter = options.start.starter(&context.store, &context.image, &acceleration);
    let times = options.schedule.repeat.get();
    let choose = |machines: &[(&MachinePlan, bool)]| options.start.choose(&starter, machines, times);
    let plan = context.plan(scenarios, &acceleration, arguments.machine.firmware, &choose)?;
    execute(runtime, &context, plan, starter, &options, parent)
}
