// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use futures_util::future::try_join_all;

use super::{GuestOperation, MachineProvider, RetainedMachines, RunningMachine, ScenarioId, StartFailure};
use crate::machine::{MachineContext, MachineStarter, PeerNetwork, StarterError, Supervisor};
use crate::scenario::{Plan, PlannedMachine};

/// The provider of real runs: QEMU machines whose guests are reached over SSH.
#[derive(Debug)]
pub struct QemuProvider {
    scenarios: HashMap<ScenarioId, Vec<PlannedMachine>>,
    starter: MachineStarter,
    relay_program: Utf8PathBuf,
    supervisor: Supervisor,
    retained: Option<Arc<RetainedMachines>>,
}

impl QemuProvider {
    /// A provider for the machines of a plan. Guests reach the harness through `relay_program` (see
    /// [`Machine::start`](crate::machine::Machine::start)); `supervisor` stops the remaining machines.
    pub fn new(
        plan: &Plan,
        starter: MachineStarter,
        relay_program: Utf8PathBuf,
        supervisor: Supervisor,
    ) -> Self {
        let scenarios = plan.scenarios.iter().map(|planned| (planned.id.clone(), planned.machines.clone()));
        Self { scenarios: scenarios.collect(), starter, relay_program, supervisor, retained: None }
    }

    /// The same provider, with machines that can be left running.
    #[must_use]
    pub fn retaining(self, retained: Arc<RetainedMachines>) -> Self {
        Self { retained: Some(retained), ..self }
    }

    async fn start_machine(
        &self,
        planned: &PlannedMachine,
        directory: &Utf8Path,
        network: &PeerNetwork,
    ) -> Result<RunningMachine, StartFailure> {
        let PlannedMachine { plan, start, .. } = planned;
        let (facts, factor) = (plan.image.facts.clone(), plan.acceleration.factor);
        let context = MachineContext { directory, relay: &self.relay_program, supervisor: &self.supervisor };
        let started = self.starter.start(plan.clone(), start, context).await;
        let (mut machine, started) = started.map_err(|error| match error {
            StarterError::Start(error) => StartFailure::of(&error),
            StarterError::Fault(fault) => fault.into(),
        })?;
        machine.join(network, &self.supervisor);
        Ok(RunningMachine::new(machine, started, self.retained.clone(), facts, factor))
    }
}

impl MachineProvider for QemuProvider {
    type Operation = GuestOperation;
    type TestMachine = RunningMachine;

    async fn start(
        &self,
        scenario: &ScenarioId,
        directory: &Utf8Path,
    ) -> Result<Vec<RunningMachine>, (usize, StartFailure)> {
        let Some(machines) = self.scenarios.get(&scenario.without_repetition()) else {
            return Err((0, StartFailure::plain(format!("no machine is planned for `{scenario}`"))));
        };
        let network = PeerNetwork::new();
        let starts = machines.iter().enumerate().map(async |(number, machine)| {
            let directory =
                if machine.name.is_empty() { directory.to_owned() } else { directory.join(&machine.name) };
            let started = self.start_machine(machine, &directory, &network).await;
            started.map_err(|failure| (number, failure))
        });
        try_join_all(starts).await
    }
}
