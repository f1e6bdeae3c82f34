// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use serde::Serialize;

use crate::check::{Finding, Outcome};
use crate::machine::StartReport;
use crate::runner::{Cause, Counts, Event, EventKind, FlakyPolicy, RunHeader, ScenarioId};

/// The events of a run so far, by scenario.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunRecord {
    /// `None` before the first event
    pub(crate) start: Option<RunStart>,
    /// in the order of their first events
    pub(crate) scenarios: Vec<ScenarioRecord>,
    /// `None` while the run goes on
    pub(crate) end: Option<RunEnd>,
}

/// The start of a run.
#[derive(Debug, Clone)]
pub(crate) struct RunStart {
    /// versions, directories and the accelerator
    pub(crate) header: RunHeader,
    /// the scenarios to run
    pub(crate) scenarios: Vec<ScenarioId>,
    /// the number of concurrent scenarios
    pub(crate) jobs: usize,
    /// the seed of a shuffled order
    pub(crate) seed: Option<u64>,
    /// the effect of flaky scenarios on the verdict
    pub(crate) flaky: FlakyPolicy,
}

/// The end of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunEnd {
    /// scenarios by outcome
    pub(crate) counts: Counts,
    /// whether the user interrupted it
    pub(crate) interrupted: bool,
    /// milliseconds
    pub(crate) duration_ms: u64,
}

/// The results of a scenario. As JSON it is the `result.json` of the scenario.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ScenarioRecord {
    /// its name
    pub(crate) scenario: ScenarioId,
    /// its summary
    pub(crate) summary: String,
    /// the directory of the last attempt; `None` if the scenario was skipped
    pub(crate) directory: Option<Utf8PathBuf>,
    /// the number of the last attempt, from 1
    pub(crate) attempt: u32,
    /// microseconds since the Unix epoch
    pub(crate) started_us: u64,
    /// the number of its steps, including sweeps
    pub(crate) planned: usize,
    /// the names of its machines, where it has several
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) machines: Vec<String>,
    /// its boots
    pub(crate) boots: Vec<BootRecord>,
    /// the steps that ended
    pub(crate) steps: Vec<StepRecord>,
    /// the earlier attempts on other machines, oldest first; all of them failed or broke
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) earlier: Vec<AttemptRecord>,
    /// `None` while it runs
    pub(crate) outcome: Option<Outcome>,
    /// the cause that ended it early
    pub(crate) cause: Option<Cause>,
    /// the reason why it was skipped
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<String>,
    /// its machines that were left running
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) kept: Vec<RetainedRecord>,
    /// milliseconds
    pub(crate) duration_ms: u64,
}

/// An attempt that failed or broke and was followed by another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AttemptRecord {
    /// its number, from 1
    pub(crate) attempt: u32,
    /// the directory of its files
    pub(crate) directory: Option<Utf8PathBuf>,
    /// its boots
    pub(crate) boots: Vec<BootRecord>,
    /// the steps that ended
    pub(crate) steps: Vec<StepRecord>,
    /// failed or broken
    pub(crate) outcome: Outcome,
    /// the cause that ended it early
    pub(crate) cause: Option<Cause>,
    /// milliseconds
    pub(crate) duration_ms: u64,
}

/// A machine that was left running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RetainedRecord {
    /// its name for `loadgauge stop`
    pub(crate) name: String,
    /// the SSH command that logs in to the guest
    pub(crate) ssh: String,
}

/// A boot of a scenario's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BootRecord {
    /// the name of the machine, where the scenario has several
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<String>,
    /// the boot ID of the kernel
    pub(crate) boot_id: String,
    /// the output of `systemctl is-system-running`
    pub(crate) state: String,
    /// milliseconds since power-on, the reboot, or the command to restore the machine
    pub(crate) duration_ms: u64,
    /// cold or warm; `None` after a reboot
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<StartReport>,
}

/// A step that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StepRecord {
    /// its number in the order of execution, from 1
    pub(crate) step: usize,
    /// the name of the machine, where the scenario has several
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<String>,
    /// its title
    pub(crate) summary: String,
    /// passed, failed, skipped or broken
    pub(crate) outcome: Outcome,
    /// the result of its check
    pub(crate) finding: Option<Finding>,
    /// the number of tries
    pub(crate) attempts: u32,
    /// milliseconds
    pub(crate) duration_ms: u64,
}

impl RunRecord {
    /// The record of all these events.
    pub(crate) fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut record = Self::default();
        events.into_iter().for_each(|event| record.take(event));
        record
    }

    /// Adds the next event.
    pub(crate) fn take(&mut self, event: &Event) {
        match event.kind.clone() {
            EventKind::RunStarted { format: _, header, scenarios, jobs, seed, flaky } => {
                self.start = Some(RunStart { header, scenarios, jobs, seed, flaky });
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
                mut finding,
                attempts,
                duration_ms,
            } => {
                // Whole outputs are in their files, and would stay in memory until the end of the run.
                let commands = finding.iter_mut().flat_map(|finding| &mut finding.commands);
                commands.for_each(|command| command.whole = None);
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

    /// The record of a scenario.
    pub(crate) fn scenario(&self, id: &ScenarioId) -> Option<&ScenarioRecord> {
        self.scenarios.iter().find(|record| record.scenario == *id)
    }

    fn entry(&mut self, id: &ScenarioId) -> &mut ScenarioRecord {
        let index = self.scenarios.iter().position(|record| record.scenario == *id).unwrap_or_else(|| {
            self.scenarios.push(ScenarioRecord { scenario: id.clone(), ..ScenarioRecord::default() });
            self.scenarios.len() - 1
        });
        &mut self.scenarios[index]
    }
}

impl StepRecord {
    /// Whether commands were run on the guest.
    pub(super) fn has_commands(&self) -> bool {
        self.finding.as_ref().is_some_and(|finding| !finding.commands.is_empty())
    }
}

impl ScenarioRecord {
    /// Ends an attempt that is followed by another on a new machine.
    fn retry(&mut self, attempt: u32, outcome: Outcome, cause: Option<Cause>, duration_ms: u64) {
        let (boots, steps) = (std::mem::take(&mut self.boots), std::mem::take(&mut self.steps));
        let directory = self.directory.clone();
        self.earlier.push(AttemptRecord { attempt, directory, boots, steps, outcome, cause, duration_ms });
    }

    /// The first step that failed or broke, in the last attempt or else in an earlier one.
    pub(crate) fn first_failure(&self) -> Option<&StepRecord> {
        let bad = |step: &&StepRecord| matches!(step.outcome, Outcome::Failed | Outcome::Broken);
        let earlier = self.earlier.iter().flat_map(|attempt| &attempt.steps);
        self.steps.iter().chain(earlier).find(bad)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::guest::WholeOutput;
    use crate::report::testing;

    #[test]
    fn whole_outputs_do_not_stay_in_memory() {
        let whole = Arc::new(WholeOutput { stdout: vec![b'x'; 9], stderr: Vec::new() });
        let mut events = testing::complete_run();
        for event in &mut events {
            if let EventKind::StepFinished { finding: Some(finding), .. } = &mut event.kind {
                for command in &mut finding.commands {
                    command.whole = Some(Arc::clone(&whole));
                }
            }
        }
        let record = RunRecord::of(&events);
        assert!(Arc::strong_count(&whole) > 1, "the events have it");
        drop(events);
        assert_eq!(Arc::strong_count(&whole), 1, "the record has it not");
        assert!(!record.scenarios.is_empty());
    }
}
