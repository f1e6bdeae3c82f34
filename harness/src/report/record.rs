// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use serde::Serialize;

use crate::check::{Finding, Outcome};
use crate::machine::{Acceleration, Started};
use crate::runner::{Cause, Counts, Event, EventKind, FlakyPolicy};

/// What the events of a run have said so far, gathered by scenario.
#[derive(Debug, Clone, Default)]
pub struct RunRecord {
    /// how it began; absent before the first event
    pub start: Option<RunStart>,
    /// in the order in which they were first heard of
    pub scenarios: Vec<ScenarioRecord>,
    /// how it ended; absent while it goes on
    pub end: Option<RunEnd>,
}

/// How a run began.
#[derive(Debug, Clone)]
pub struct RunStart {
    /// microseconds since the Unix epoch
    pub time_us: u64,
    /// the harness's own version
    pub version: String,
    /// the run's directory
    pub directory: Utf8PathBuf,
    /// the image's disk
    pub image: Utf8PathBuf,
    /// its SHA-256
    pub image_digest: String,
    /// `PRETTY_NAME` of its os-release
    pub image_name: String,
    /// how machines run, and why
    pub acceleration: Acceleration,
    /// the names of the scenarios that were to run
    pub scenarios: Vec<String>,
    /// scenarios at a time
    pub jobs: usize,
    /// what shuffled the order of the scenarios
    pub seed: Option<u64>,
    /// what a flaky scenario makes of the verdict
    pub flaky: FlakyPolicy,
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub struct RunEnd {
    /// by outcome
    pub counts: Counts,
    /// whether the user broke it off
    pub interrupted: bool,
    /// milliseconds
    pub duration_ms: u64,
}

/// What is known of one scenario. As JSON it is the scenario's `result.json`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ScenarioRecord {
    /// its name
    pub scenario: String,
    /// what it is about
    pub summary: String,
    /// where the files of the last attempt are; absent where it was skipped
    pub directory: Option<Utf8PathBuf>,
    /// which attempt that was, 1-based
    pub attempt: u32,
    /// microseconds since the Unix epoch
    pub started_us: u64,
    /// its steps, sweeps included
    pub planned: usize,
    /// the names of its machines, where it has several
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<String>,
    /// when the guest was up, one entry a boot
    pub boots: Vec<BootRecord>,
    /// the steps that ended
    pub steps: Vec<StepRecord>,
    /// the attempts on other machines before this one, oldest first; none of them passed
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<AttemptRecord>,
    /// absent while it runs
    pub outcome: Option<Outcome>,
    /// what ended it early
    pub cause: Option<Cause>,
    /// why it was skipped
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// the machines that were left running, by what `loadgauge stop` knows them by, and how to get in
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<RetainedRecord>,
    /// milliseconds
    pub duration_ms: u64,
}

/// An attempt that did not pass and was followed by another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// 1-based
    pub attempt: u32,
    /// where its files are
    pub directory: Option<Utf8PathBuf>,
    /// when the guest was up, one entry a boot
    pub boots: Vec<BootRecord>,
    /// the steps that ended
    pub steps: Vec<StepRecord>,
    /// failed or broken
    pub outcome: Outcome,
    /// what ended it early
    pub cause: Option<Cause>,
    /// milliseconds
    pub duration_ms: u64,
}

/// A machine that was left running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetainedRecord {
    /// what `loadgauge stop` knows it by
    pub name: String,
    /// the command line that leads into the guest
    pub ssh: String,
}

/// A boot of a scenario's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootRecord {
    /// which of the scenario's machines, where it has several
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// of the kernel
    pub boot_id: String,
    /// what `systemctl is-system-running` said
    pub state: String,
    /// milliseconds from power-on, from the reboot, or from the order to restore the machine
    pub duration_ms: u64,
    /// how the machine came to run; nothing after a reboot
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Started>,
}

/// A step that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepRecord {
    /// 1-based, in the order of execution
    pub step: usize,
    /// which of the scenario's machines was asked, where it has several
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// what it claims
    pub summary: String,
    /// passed, failed, skipped or broken
    pub outcome: Outcome,
    /// what was found
    pub finding: Option<Finding>,
    /// how often it was tried
    pub attempts: u32,
    /// milliseconds
    pub duration_ms: u64,
}

impl RunRecord {
    /// The record of all these events.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut record = Self::default();
        events.into_iter().for_each(|event| record.take(event));
        record
    }

    /// Takes the next event.
    pub fn take(&mut self, event: &Event) {
        match event.kind.clone() {
            EventKind::RunStarted {
                format: _,
                version,
                directory,
                image,
                image_digest,
                image_name,
                acceleration,
                scenarios,
                jobs,
                seed,
                flaky,
            } => {
                let time_us = event.time_us;
                self.start = Some(RunStart {
                    time_us,
                    version,
                    directory,
                    image,
                    image_digest,
                    image_name,
                    acceleration,
                    scenarios,
                    jobs,
                    seed,
                    flaky,
                });
            }
            EventKind::ScenarioSkipped { scenario, reason } => {
                let record = self.entry(&scenario);
                record.outcome = Some(Outcome::Skipped);
                record.skipped = Some(reason);
            }
            EventKind::ScenarioStarted { scenario, summary, directory, attempt, steps, machines } => {
                let record = self.entry(&scenario);
                if attempt == 1 {
                    record.started_us = event.time_us;
                }
                *record = ScenarioRecord {
                    summary,
                    directory: Some(directory),
                    attempt,
                    planned: steps,
                    machines,
                    ..std::mem::take(record)
                };
            }
            EventKind::Waiting { .. } | EventKind::Overdue { .. } => {}
            EventKind::AttemptFinished { scenario, attempt, outcome, cause, duration_ms } => {
                self.entry(&scenario).retry(attempt, outcome, cause, duration_ms);
            }
            EventKind::MachineKept { scenario, machine: _, name, ssh } => {
                self.entry(&scenario).kept.push(RetainedRecord { name, ssh });
            }
            EventKind::MachineReady { scenario, machine, boot_id, state, duration_ms, start } => {
                let boot = BootRecord { machine, boot_id, state, duration_ms, start };
                self.entry(&scenario).boots.push(boot);
            }
            EventKind::StepFinished {
                scenario,
                machine,
                step,
                summary,
                outcome,
                finding,
                attempts,
                duration_ms,
            } => {
                let step = StepRecord { step, machine, summary, outcome, finding, attempts, duration_ms };
                self.entry(&scenario).steps.push(step);
            }
            EventKind::ScenarioFinished { scenario, outcome, cause, duration_ms } => {
                let record = self.entry(&scenario);
                record.outcome = Some(outcome);
                record.cause = cause;
                record.duration_ms = duration_ms;
            }
            EventKind::RunFinished { counts, interrupted, duration_ms } => {
                self.end = Some(RunEnd { counts, interrupted, duration_ms });
            }
        }
    }

    /// A scenario by its name.
    pub fn scenario(&self, name: &str) -> Option<&ScenarioRecord> {
        self.scenarios.iter().find(|record| record.scenario == name)
    }

    fn entry(&mut self, name: &str) -> &mut ScenarioRecord {
        let index = self.scenarios.iter().position(|record| record.scenario == name).unwrap_or_else(|| {
            self.scenarios.push(ScenarioRecord { scenario: name.to_owned(), ..ScenarioRecord::default() });
            self.scenarios.len() - 1
        });
        &mut self.scenarios[index]
    }
}

impl ScenarioRecord {
    /// An attempt ended that is followed by another on a fresh machine; what it said is kept.
    fn retry(&mut self, attempt: u32, outcome: Outcome, cause: Option<Cause>, duration_ms: u64) {
        let (boots, steps) = (std::mem::take(&mut self.boots), std::mem::take(&mut self.steps));
        let directory = self.directory.clone();
        self.earlier.push(AttemptRecord { attempt, directory, boots, steps, outcome, cause, duration_ms });
    }

    /// The first step that did not hold, in the last try or, where that passed, in an earlier one.
    pub fn first_failure(&self) -> Option<&StepRecord> {
        let bad = |step: &&StepRecord| matches!(step.outcome, Outcome::Failed | Outcome::Broken);
        let earlier = self.earlier.iter().flat_map(|attempt| &attempt.steps);
        self.steps.iter().chain(earlier).find(bad)
    }
}
