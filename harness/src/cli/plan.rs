// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::format_choice::FormatChoice;
use super::plan_inputs::PlanInputs;
use super::{Exit, Failure, runtime};
use crate::machine::{Layout, MachinePlan, arguments as qemu_arguments};

/// Arguments of `loadgauge plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    inputs: PlanInputs,
    #[command(flatten)]
    format: FormatChoice,
}

/// Prints what `loadgauge run` would do.
pub(super) fn run(arguments: &PlanArguments) -> Result<Exit, Failure> {
    let (_, plan, _) = arguments.inputs.plan(&runtime::start()?, 1)?;
    let program = runtime::own_program()?;
    let command = |machine: &MachinePlan| qemu_arguments(machine, &future_layout(machine, &program));
    arguments.format.print(&plan.view(&command), || plan.text())?;
    // As `run` of it.
    Ok(if plan.scenarios.is_empty() { Exit::Nothing } else { Exit::Passed })
}

/// The paths of a machine that was not started: `RUN` and `RUNTIME` replace the directories that a run
/// would create.
fn future_layout(machine: &MachinePlan, program: &Utf8Path) -> Layout {
    Layout::new(Utf8PathBuf::from("RUN").join(&machine.name), "RUNTIME", program)
}
