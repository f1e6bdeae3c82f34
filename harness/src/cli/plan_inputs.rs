// SPDX-License-Identifier: Apache-2.0
use clap::Args;
use loadgauge_host::Store;
use tokio::runtime::Runtime;

use super::Failure;
use super::context::Context;
use super::image_choice::ImageOption;
use super::machine_choice::MachineChoice;
use super::selection::Selection;
use super::start::StartArguments;
use crate::machine::{MachinePlan, MachineStarter};
use crate::scenario::Plan;

/// The arguments that determine a plan.
#[derive(Debug, Args)]
pub(super) struct PlanInputs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    image: ImageOption,
    #[command(flatten)]
    machine: MachineChoice,
    #[command(flatten)]
    start: StartArguments,
}

impl PlanInputs {
    /// Plans the selected scenarios.
    ///
    /// They are read before the image is opened: an error in a scenario file is reported on hosts without
    /// an image too.
    ///
    /// `times` is the number of repetitions of each scenario.
    pub(super) fn plan(
        &self,
        runtime: &Runtime,
        times: usize,
    ) -> Result<(Context, Plan, MachineStarter), Failure> {
        let scenarios = self.selection.scenarios(&Store::of_user()?)?;
        let context = Context::open(&self.selection.catalogue, self.image.image.as_deref())?;
        let acceleration = runtime.block_on(context.prove(self.machine.accel))?;
        let starter = self.start.starter(&context.store, &context.image, &acceleration);
        let choose = |machines: &[(&MachinePlan, bool)]| self.start.choose(&starter, machines, times);
        let plan = context.plan(scenarios, &acceleration, self.machine.firmware, &choose)?;
        Ok((context, plan, starter))
    }
}
