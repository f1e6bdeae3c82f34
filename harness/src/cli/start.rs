// SPDX-License-Identifier: Apache-2.0
use clap::Args;
use loadgauge_host::quantity::parse_size;
use loadgauge_host::{Store, environment};
use loadgauge_images::Image;

use crate::machine::{Acceleration, MachinePlan, MachineStarter, StartChoice, StartMethod};
use crate::runner::Limits;

/// The option that limits what snapshots take on the disk.
#[derive(Debug, Clone, Args)]
pub(super) struct SnapshotsSize {
    /// Maximum size of all snapshots in the cache; the least recently used are removed first
    #[arg(
        long,
        value_name = "SIZE",
        env = environment::SNAPSHOTS_SIZE,
        default_value = "8GiB",
        value_parser = parse_size
    )]
    snapshots_size: u64,
}

/// The options for cold and warm starts.
#[derive(Debug, Clone, Args)]
pub(super) struct StartArguments {
    /// Whether machines boot (cold) or are restored from a snapshot of a booted machine (warm)
    #[arg(long, value_enum, default_value_t = StartChoice::Auto, env = environment::START)]
    pub(super) start: StartChoice,
    #[command(flatten)]
    pub(super) snapshots: SnapshotsSize,
}

impl StartArguments {
    /// Creates the starter of the machines of an image.
    pub(super) fn starter(
        &self,
        store: &Store,
        image: &Image,
        acceleration: &Acceleration,
    ) -> MachineStarter {
        MachineStarter::new(
            store,
            self.snapshots.snapshots_size,
            image.facts.architecture,
            acceleration,
            Limits::under(acceleration).boot * Limits::GIVE_UP,
        )
    }

    /// Chooses whether machines start cold or warm, given all machines of a plan with whether their
    /// scenario requires a cold start. `times` is the number of repetitions of each scenario.
    pub(super) fn choose(
        &self,
        starter: &MachineStarter,
        machines: &[(&MachinePlan, bool)],
        times: usize,
    ) -> Vec<StartMethod> {
        starter.choose(self.start, machines, times)
    }
}
