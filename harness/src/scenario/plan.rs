// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::Image;

use super::{PlannedExtension, PlannedStep, Scenario, ScenarioId, Variant};
use crate::machine::{Acceleration, MachinePlan, Start, StartMethod};

/// Everything that a run will do, before anything is booted.
#[derive(Debug, Clone)]
pub struct Plan {
    /// the image to boot
    pub image: Image,
    /// the accelerator
    pub acceleration: Acceleration,
    /// the scenarios to run, sorted by name
    pub scenarios: Vec<PlannedScenario>,
    /// the scenarios that cannot run on the image, sorted by name
    pub skipped: Vec<Skipped>,
}

/// A scenario with its machines and the order of its steps.
#[derive(Debug, Clone)]
pub struct PlannedScenario {
    /// identity within the run
    pub id: ScenarioId,
    /// the scenario
    pub scenario: Scenario,
    /// the machines to start, in the order of the scenario
    pub machines: Vec<PlannedMachine>,
    /// the steps in the order of execution, with those of `[[hold]]`
    pub steps: Vec<PlannedStep>,
}

/// A machine of a scenario.
#[derive(Debug, Clone)]
pub struct PlannedMachine {
    /// name in steps; empty for a single machine
    pub name: String,
    /// the machine to start
    pub plan: MachinePlan,
    /// whether the machine starts cold or warm, and why
    pub start: StartMethod,
    /// the extensions in the guest, in the order of the scenario
    pub extensions: Vec<PlannedExtension>,
    /// what is doubtful about its Ignition config
    pub warnings: Vec<String>,
}

/// A scenario that cannot run on the image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// name of the scenario
    pub name: String,
    /// the requirements that the image does not meet
    pub reason: String,
}

impl PlannedScenario {
    /// Whether one of its machines starts warm.
    pub fn starts_warm(&self) -> bool {
        self.machines.iter().any(|machine| machine.start.start() == Start::Warm)
    }

    /// The same scenario with cold starts of all machines.
    #[must_use]
    pub fn cold_variant(&self, reason: &str) -> Self {
        let mut cold = self.clone();
        cold.id = self.id.with_variant(Variant::Cold);
        for machine in &mut cold.machines {
            machine.plan.name = machine_name(&cold.id, &machine.name);
            machine.start = StartMethod::cold(reason);
        }
        cold
    }

    /// The name of the machine of a step; empty for a single machine.
    pub(crate) fn machine_of(&self, step: &PlannedStep) -> &str {
        self.machines.get(step.step.machine).map_or("", |machine| machine.name.as_str())
    }
}

/// The name of a machine among all machines of a run.
pub(super) fn machine_name(scenario: &ScenarioId, machine: &str) -> String {
    if machine.is_empty() { scenario.to_string() } else { format!("{scenario}/{machine}") }
}

/// Puts the name of a machine before a text; a single machine has none.
pub(crate) fn with_machine_name(machine: &str, text: &str) -> String {
    if machine.is_empty() { text.to_owned() } else { format!("{machine}: {text}") }
}
