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
    pub(super) start: StartArguments,
}

impl PlanInputs {
    /// Plans the selected scenarios.
    ///
    /// They are read before the image is opened: an error in a scenario file is reported on hosts without
    /// an image too.
    pub(super) fn plan(&self, runtime: &Runtime) -> Result<(Context, Plan), Failure> {
        let scenarios = self.selection.scenarios(&Store::of_user()?)?;
        let context = Context::open(&self.selection.catalogue, self.image.image.as_deref())?;
        let acceleration = runtime.block_on(context.prove(self.machine.accel))?;
        let plan = context.plan(scenarios, &acceleration, self.machine.firmware)?;
        Ok((context, plan))
    }
}
