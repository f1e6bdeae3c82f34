// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::context::Context;
use super::format_choice::FormatChoice;
use super::image_choice::ImageOption;
use super::machine_choice::MachineChoice;
use super::selection::Selection;
use super::start::StartArguments;
use super::{Exit, Failure, runtime};
use crate::machine::{Layout, MachinePlan, arguments as qemu_arguments};

/// Arguments of `loadgauge plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    image: ImageOption,
    #[command(flatten)]
    machine: MachineChoice,
    #[command(flatten)]
    start: StartArguments,
    #[command(flatten)]
    format: FormatChoice,
}

/// Prints what `loadgauge run` would do.
pub(super) fn run(arguments: &PlanArguments) -> Result<Exit, Failure> {
    let (context, scenarios) = Context::with_scenarios(&arguments.selection, &arguments.image)?;
    let acceleration = runtime::start()?.block_on(context.prove(arguments.machine.accel))?;
    let starter = arguments.start.starter(&context.store, &context.image, &acceleration);
    let choose = |machines: &[(&MachinePlan, bool)]| arguments.start.choose(&starter, machines, 1);
    let plan = context.plan(scenarios, &acceleration, arguments.machine.firmware, &choose)?;
    let program = runtime::own_program()?;
    let command = |machine: &MachinePlan| qemu_arguments(machine, &future_layout(machine, &program));
    arguments.format.print(&plan.view(&command), || plan.text())?;
    Ok(Exit::Passed)
}

/// The paths of a machine that was not started: `RUN` and `RUNTIME` replace the directories that a run
/// would create.
fn future_layout(machine: &MachinePlan, program: &Utf8Path) -> Layout {
    Layout::new(Utf8PathBuf::from("RUN").join(&machine.name), "RUNTIME", program)
}
