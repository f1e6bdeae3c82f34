// SPDX-License-Identifier: Apache-2.0
use std::time::SystemTime;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::{FlakyPolicy, Header};
use crate::check::{Finding, Outcome};
use crate::machine::{Fault, StartReport};

/// Version of the format of the JSON lines that events are written as. It rises when a field
/// changes its meaning or goes; fields may be added within a version.
pub const FORMAT: u32 = 1;

/// Something that happened in a run. Results leave the runner as events and in no other way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// when, as microseconds since the Unix epoch
    pub time_us: u64,
    /// what
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// the first event of every run
    RunStarted {
        /// [`FORMAT`]
        format: u32,
        /// versions, directories and the accelerator
        #[serde(flatten)]
        header: Header,
        /// the names of the scenarios that will run
        scenarios: Vec<String>,
        /// scenarios at a time, at most
        jobs: usize,
        /// what shuffled their order, if it was shuffled
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<u64>,
        /// what a flaky scenario makes of the verdict
        #[serde(default)]
        flaky: FlakyPolicy,
    },
    /// a scenario that was selected and is not run
    ScenarioSkipped {
        /// its name
        scenario: String,
        /// why
        reason: String,
    },
    /// a scenario begins, or begins again on a fresh machine
    ScenarioStarted {
        /// its name
        scenario: String,
        /// what it is about
        summary: String,
        /// where the files of this attempt are written
        directory: Utf8PathBuf,
        /// 1-based
        #[serde(default = "first")]
        attempt: u32,
        /// of its steps, those of `hold` at each life-cycle change included
        steps: usize,
        /// the names of its machines, where it has several; each has a directory of its name in that of
        /// the attempt
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        machines: Vec<String>,
    },
    /// something is being waited for
    Waiting {
        /// the scenario
        scenario: String,
        /// what for, to stand behind "waiting for"
        what: String,
    },
    /// something that is waited for takes longer than it should
    Overdue {
        /// the scenario
        scenario: String,
        /// what for, to stand behind "waiting for"
        what: String,
        /// how long it should have taken, in milliseconds
        expected_ms: u64,
        /// when it is given up, in milliseconds from the beginning of the wait
        limit_ms: u64,
    },
    /// the guest said that it is up
    MachineReady {
        /// the scenario
        scenario: String,
        /// which of its machines, where it has several
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine: Option<String>,
        /// of this boot
        boot_id: String,
        /// what `systemctl is-system-running` said
        state: String,
        /// from power-on, from the reboot, or from the order to restore the machine
        duration_ms: u64,
        /// how the machine came to run; nothing after a reboot
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start: Option<StartReport>,
    },
    /// a step ended
    StepFinished {
        /// the scenario
        scenario: String,
        /// which of its machines was asked, where it has several
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine: Option<String>,
        /// 1-based, in the order of execution
        step: usize,
        /// what it claims
        summary: String,
        /// passed, failed, skipped or broken
        outcome: Outcome,
        /// what was found
        finding: Option<Finding>,
        /// how often it was tried under `within`
        attempts: u32,
        /// milliseconds
        duration_ms: u64,
    },
    /// an attempt did not pass, and another follows
    AttemptFinished {
        /// the scenario
        scenario: String,
        /// 1-based
        attempt: u32,
        /// failed or broken
        outcome: Outcome,
        /// what ended it early
        cause: Option<Cause>,
        /// milliseconds
        duration_ms: u64,
    },
    /// a machine is left running for whoever wants to look into it
    MachineKept {
        /// the scenario
        scenario: String,
        /// which of its machines, where it has several
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine: Option<String>,
        /// what `loadgauge stop` knows it by
        name: String,
        /// the command line that leads into the guest
        ssh: String,
    },
    /// a scenario ended
    ScenarioFinished {
        /// its name
        scenario: String,
        /// what came of it
        outcome: Outcome,
        /// what ended it early
        cause: Option<Cause>,
        /// milliseconds, all attempts together
        duration_ms: u64,
    },
    /// the last event of every run
    RunFinished {
        /// by outcome
        counts: Counts,
        /// whether the user broke it off
        interrupted: bool,
        /// milliseconds
        duration_ms: u64,
    },
}

/// The attempt of an event that names none.
fn first() -> u32 {
    1
}

/// What ended a scenario before its last step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// one line
    pub message: String,
    /// what to do about it
    pub hint: Option<String>,
    /// what the machine died of, if it did
    pub fault: Option<Fault>,
    /// which of the scenario's machines it is about, where it has several
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// Scenarios by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// held
    pub passed: usize,
    /// failed, then held on a fresh machine
    pub flaky: usize,
    /// did not hold
    pub failed: usize,
    /// not tried
    pub skipped: usize,
    /// could not be tried
    pub broken: usize,
}

impl Counts {
    /// Counts a scenario.
    pub fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Flaky => &mut self.flaky,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Broken => &mut self.broken,
        } += 1;
    }
}

impl Event {
    /// An event of this moment.
    pub fn now(kind: EventKind) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { time_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX), kind }
    }
}
