// SPDX-License-Identifier: Apache-2.0
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use loadgauge_images::OsRelease;

use super::{
    Action, Budget, Capacity, DirectoryError, FlakyPolicy, GuestOperation, Job, JobStep, KeepPolicy, Limits,
    Needs, Run, RunDirectory, RunHeader, ScenarioId, Skipped, StartOrder, StepRole,
};
use crate::check::Sweep;
use crate::scenario::{Plan, PlannedMachine, PlannedScenario, PlannedStep, StepKind, with_machine_name};

/// The limit of scenarios that do not set one, for KVM.
const TIMEOUT: Duration = Duration::from_mins(10);

impl Run<GuestOperation> {
    /// The run of a plan, with each scenario `repeat` times. Every repetition gets a directory in the
    /// run's directory. The sweeps come after the last step of a scenario; waived sweeps are reported
    /// with their reason.
    ///
    /// The options have their defaults: as many machines at a time as the host has room for, no retries.
    ///
    /// # Errors
    /// A directory cannot be created.
    pub fn of_plan(
        plan: &Plan,
        directory: &RunDirectory,
        repeat: NonZeroUsize,
    ) -> Result<Self, DirectoryError> {
        let header = RunHeader {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            directory: directory.path().to_owned(),
            image: plan.image.disk.clone(),
            image_digest: plan.image.digest.clone(),
            image_name: name_of(&plan.image.facts.os_release),
            acceleration: plan.acceleration.clone(),
        };
        let mut jobs = Vec::new();
        for planned in &plan.scenarios {
            for id in repetitions(&planned.id, repeat) {
                jobs.push(job(planned, id, directory)?);
            }
        }
        let skipped = plan.skipped.iter().map(|skipped| Skipped {
            scenario: ScenarioId::of(&skipped.name),
            reason: skipped.reason.clone(),
        });
        Ok(Self {
            header,
            jobs,
            skipped: skipped.collect(),
            order: StartOrder::default(),
            budget: Budget::of(Capacity::of_host(), plan.acceleration.accelerator, None),
            fail_fast: false,
            retries: 0,
            flaky: FlakyPolicy::default(),
            keep: KeepPolicy::default(),
            limits: Limits::under(&plan.acceleration),
        })
    }
}

/// The ids of all repetitions of a scenario.
fn repetitions(id: &ScenarioId, repeat: NonZeroUsize) -> Vec<ScenarioId> {
    if repeat.get() == 1 {
        return vec![id.clone()];
    }
    let last = NonZeroU32::try_from(repeat).unwrap_or(NonZeroU32::MAX).get();
    (1..=last).filter_map(NonZeroU32::new).map(|number| id.repeated(number)).collect()
}

fn job(
    planned: &PlannedScenario,
    id: ScenarioId,
    directory: &RunDirectory,
) -> Result<Job<GuestOperation>, DirectoryError> {
    let scenario = &planned.scenario;
    let machines = planned.machines.iter().enumerate();
    let sweeps =
        machines.flat_map(|machine| Sweep::ALL.iter().map(move |&kind| sweep(planned, machine, kind)));
    Ok(Job {
        directory: directory.scenario(&id.to_string())?,
        id,
        needs: planned.machines.iter().map(needs).sum(),
        summary: scenario.summary.clone(),
        timeout: scenario.timeout.unwrap_or(TIMEOUT),
        machines: planned.machines.iter().map(|machine| machine.name.clone()).collect(),
        steps: planned.steps.iter().map(|one| step(planned, one)).chain(sweeps).collect(),
    })
}

fn needs(machine: &PlannedMachine) -> Needs {
    Needs::of(&machine.plan.spec, machine.plan.acceleration.accelerator)
}

/// The step that makes a sweep of a machine.
fn sweep(
    planned: &PlannedScenario,
    (number, machine): (usize, &PlannedMachine),
    kind: Sweep,
) -> JobStep<GuestOperation> {
    JobStep {
        summary: with_machine_name(&machine.name, &format!("sweep: {}", kind.summary())),
        action: match planned.scenario.waive.get(&kind) {
            Some(reason) => Action::Waive { reason: reason.clone() },
            None => Action::Execute(GuestOperation::Sweep(kind)),
        },
        role: StepRole::Sweep,
        machine: number,
        within: None,
    }
}

fn step(scenario: &PlannedScenario, planned: &PlannedStep) -> JobStep<GuestOperation> {
    let after = planned.after.filter(|_| planned.hold).map(|action| format!(", after {action}"));
    let title = format!("{}{}", planned.step.title(), after.unwrap_or_default());
    let action = match (&planned.step.kind, &planned.change) {
        (_, Some(change)) => Action::Execute(GuestOperation::Change(Box::new(change.clone()))),
        (StepKind::Check(check), None) => Action::Execute(GuestOperation::Check(check.clone())),
        (_, None) => Action::Reboot,
    };
    JobStep {
        summary: with_machine_name(scenario.machine_of(planned), &title),
        action,
        role: if planned.step.kind.is_action() { StepRole::Action } else { StepRole::Check },
        machine: planned.step.machine,
        within: planned.step.within,
    }
}

/// The name of the image for people.
fn name_of(release: &OsRelease) -> String {
    let name = release.get("PRETTY_NAME").or_else(|| release.get("NAME"));
    name.unwrap_or("an image without a name").to_owned()
}
