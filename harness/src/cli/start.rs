// SPDX-License-Identifier: Apache-2.0
use clap::Args;

use crate::machine::{Acceleration, Decision, MachineStarter, StartChoice};
use crate::runner::Limits;
use crate::scenario::{Plan, Planned};
use loadgauge_host::Store;
use loadgauge_images::Image;

/// How machines come to run, and what may be kept for it.
#[derive(Debug, Clone, Args)]
pub(super) struct StartArguments {
    /// Boot machines (`cold`), or restore them from snapshots of booted ones (`warm`); `auto` does the
    /// latter where scenarios have the same machine, or where its snapshot is there already
    #[arg(long, value_enum, default_value_t = StartChoice::Auto, env = "LOADGAUGE_START")]
    pub start: StartChoice,
    /// What snapshots may take in the cache, such as `8GiB`; those used longest ago go first
    #[arg(
        long,
        value_name = "SIZE",
        env = "LOADGAUGE_SNAPSHOTS_SIZE",
        default_value = "8GiB",
        value_parser = loadgauge_host::quantity::parse_size
    )]
    pub snapshots_size: u64,
}

impl StartArguments {
    /// Makes and finds the snapshots of this user.
    pub(super) fn starter(
        &self,
        store: &Store,
        image: &Image,
        acceleration: &Acceleration,
    ) -> MachineStarter {
        MachineStarter::new(
            store,
            self.snapshots_size,
            image.facts.architecture,
            acceleration,
            Limits::under(acceleration).boot * Limits::GIVE_UP,
        )
    }

    /// How the machines of each scenario of a plan are to start, in the plan's order, where each scenario
    /// runs so many times.
    pub(super) fn decide(&self, starter: &MachineStarter, plan: &Plan, times: usize) -> Vec<Vec<Decision>> {
        let machines = plan.scenarios.iter().flat_map(|planned| &planned.machines);
        let machines: Vec<_> = machines.map(|machine| (&machine.plan, machine.cold)).collect();
        let mut decisions = starter.decide(self.start, &machines, times).into_iter();
        let of_one = |planned: &Planned| decisions.by_ref().take(planned.machines.len()).collect();
        plan.scenarios.iter().map(of_one).collect()
    }
}
