// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroUsize;
use std::time::Duration;

use loadgauge_images::OsRelease;

use super::{
    Action, Budget, Capacity, DirectoryError, FlakyPolicy, Header, Job, JobStep, KeepPolicy, Limits, Needs,
    Order, Run, RunDirectory, Skipped,
};
use crate::check::{Change, Check, Sweep};
use crate::scenario::{Plan, Planned, PlannedMachine, PlannedStep, StepKind, on};

/// How long a scenario should take that says nothing of it, for KVM: none shall run for ever.
const TIMEOUT: Duration = Duration::from_mins(10);

/// What a real guest is asked.
#[derive(Debug, Clone)]
pub enum Question {
    /// by the scenario
    Check(Box<Check>),
    /// by the harness, unasked
    Sweep(Sweep),
    /// to change what is merged, and what came of it
    Change(Box<Change>),
}

impl Run<Question> {
    /// What a plan has to be executed, each scenario `repeat` times, in a run's directory: a
    /// directory for each is made in it. The sweeps stand behind the last step of each, those that
    /// it does without with the reason.
    ///
    /// Everything else is as it is where nobody says otherwise: as many machines at a time as the
    /// host has room for, in the order of their names, every scenario once.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn of_plan(
        plan: &Plan,
        directory: &RunDirectory,
        repeat: NonZeroUsize,
    ) -> Result<Self, DirectoryError> {
        let header = Header {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            directory: directory.path().to_owned(),
            image: plan.image.disk.clone(),
            image_digest: plan.image.digest.clone(),
            image_name: name_of(&plan.image.facts.os_release),
            acceleration: plan.acceleration.clone(),
        };
        let mut jobs = Vec::new();
        for planned in &plan.scenarios {
            for number in 1..=repeat.get() {
                let own = &planned.scenario.name;
                let name = if repeat.get() == 1 { own.clone() } else { format!("{own}@{number}") };
                jobs.push(job(planned, name, directory)?);
            }
        }
        let skipped = plan
            .skipped
            .iter()
            .map(|skipped| Skipped { scenario: skipped.name.clone(), reason: skipped.reason.clone() })
            .collect();
        Ok(Self {
            header,
            jobs,
            skipped,
            order: Order::default(),
            budget: Budget::of(Capacity::of_host(), plan.acceleration.accelerator, None),
            fail_fast: false,
            retries: 0,
            flaky: FlakyPolicy::default(),
            keep: KeepPolicy::default(),
            limits: Limits::under(&plan.acceleration),
        })
    }
}

fn job(planned: &Planned, name: String, directory: &RunDirectory) -> Result<Job<Question>, DirectoryError> {
    let scenario = &planned.scenario;
    let machines = planned.machines.iter().enumerate();
    let sweeps =
        machines.flat_map(|machine| Sweep::ALL.iter().map(move |&asked| sweep(planned, machine, asked)));
    Ok(Job {
        directory: directory.scenario(&name)?,
        name,
        scenario: scenario.name.clone(),
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

/// A sweep of one of the machines.
fn sweep(planned: &Planned, (number, machine): (usize, &PlannedMachine), asked: Sweep) -> JobStep<Question> {
    JobStep {
        summary: on(&machine.name, &format!("sweep: {}", asked.summary())),
        action: match planned.scenario.waive.get(&asked) {
            Some(reason) => Action::Waive { reason: reason.clone() },
            None => Action::Ask(Question::Sweep(asked)),
        },
        machine: number,
        within: None,
    }
}

fn step(scenario: &Planned, planned: &PlannedStep) -> JobStep<Question> {
    let again = planned.after.filter(|_| planned.hold).map(|after| format!(", after {after}"));
    let title = format!("{}{}", planned.step.title(), again.unwrap_or_default());
    let action = match (&planned.step.kind, &planned.change) {
        (_, Some(change)) => Action::Ask(Question::Change(Box::new(change.clone()))),
        (StepKind::Check(check), None) => Action::Ask(Question::Check(check.clone())),
        (_, None) => Action::Reboot,
    };
    JobStep {
        summary: on(scenario.machine_of(planned), &title),
        action,
        machine: planned.step.machine,
        within: planned.step.within,
    }
}

/// What a person calls the image.
fn name_of(release: &OsRelease) -> String {
    let name = release.get("PRETTY_NAME").or_else(|| release.get("NAME"));
    name.unwrap_or("an image without a name").to_owned()
}
