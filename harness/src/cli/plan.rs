// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};

use super::arguments::{OutputFormat, PlanArguments};
use super::context::Context;
use super::{Exit, Failure, output};
use crate::machine::{Layout, MachinePlan, arguments as qemu_arguments};

/// `loadgauge plan`
pub(super) fn plan(arguments: &PlanArguments) -> Result<Exit, Failure> {
    let (context, scenarios) = Context::with_scenarios(&arguments.selection, &arguments.image)?;
    let acceleration = super::run::runtime()?.block_on(context.prove(arguments.machine.accel))?;
    let plan = context.plan(scenarios, &acceleration, arguments.machine.firmware)?;
    let starter = arguments.start.starter(&context.store, &context.image, &acceleration);
    let decisions = arguments.start.decide(&starter, &plan, 1);
    let program = super::run::own_program()?;
    let command = |machine: &MachinePlan| qemu_arguments(machine, &future_layout(machine, &program));
    match arguments.format {
        OutputFormat::Json => output::print_json(&plan.view(&command, &decisions))?,
        OutputFormat::Text => output::print(&plan.text(&decisions))?,
    }
    Ok(Exit::Passed)
}

/// The places of a machine that is not started: `RUN` and `RUNTIME` stand for directories that are
/// made when it is.
fn future_layout(machine: &MachinePlan, program: &Utf8Path) -> Layout {
    Layout::new(Utf8PathBuf::from("RUN").join(&machine.name), "RUNTIME", program)
}
