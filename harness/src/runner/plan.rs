// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::OsRelease;

use super::{Action, DirectoryError, Header, Job, JobStep, Limits, Run, RunDirectory, Skipped};
use crate::check::{Change, Check, Sweep};
use crate::scenario::{Plan, Planned, PlannedStep, StepKind};

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
    /// What a plan has to be executed, in a run's directory: a directory for each scenario is made
    /// in it. The sweeps stand behind the last step of each, those that it does without
    /// with the reason. One machine at a time, every scenario.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn of_plan(plan: &Plan, directory: &RunDirectory) -> Result<Self, DirectoryError> {
        let header = Header {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            directory: directory.path().to_owned(),
            image: plan.image.disk.clone(),
            image_digest: plan.image.digest.clone(),
            image_name: name_of(&plan.image.facts.os_release),
            acceleration: plan.acceleration.clone(),
        };
        let jobs = plan.scenarios.iter().map(|planned| job(planned, directory)).collect::<Result<_, _>>()?;
        let skipped = plan
            .skipped
            .iter()
            .map(|skipped| Skipped { scenario: skipped.name.clone(), reason: skipped.reason.clone() })
            .collect();
        let limits = Limits::under(&plan.acceleration);
        Ok(Self { header, jobs, skipped, machines: 1, fail_fast: false, limits })
    }
}

fn job(planned: &Planned, directory: &RunDirectory) -> Result<Job<Question>, DirectoryError> {
    let scenario = &planned.scenario;
    let sweeps = Sweep::ALL.iter().map(|&sweep| JobStep {
        summary: format!("sweep: {}", sweep.summary()),
        action: match scenario.without.get(&sweep) {
            Some(reason) => Action::Waive { reason: reason.clone() },
            None => Action::Ask(Question::Sweep(sweep)),
        },
        within: None,
    });
    Ok(Job {
        name: scenario.name.clone(),
        summary: scenario.summary.clone(),
        directory: directory.scenario(&scenario.name)?,
        timeout: scenario.timeout,
        steps: planned.steps.iter().map(step).chain(sweeps).collect(),
    })
}

fn step(planned: &PlannedStep) -> JobStep<Question> {
    let again = planned.after.filter(|_| planned.hold).map(|after| format!(", after {after}"));
    let again = again.unwrap_or_default();
    let action = match (&planned.step.kind, &planned.change) {
        (_, Some(change)) => Action::Ask(Question::Change(Box::new(change.clone()))),
        (StepKind::Check(check), None) => Action::Ask(Question::Check(check.clone())),
        (_, None) => Action::Reboot,
    };
    JobStep { summary: format!("{}{again}", planned.step.title()), action, within: planned.step.within }
}

/// What a person calls the image.
fn name_of(release: &OsRelease) -> String {
    let name = release.get("PRETTY_NAME").or_else(|| release.get("NAME"));
    name.unwrap_or("an image without a name").to_owned()
}
