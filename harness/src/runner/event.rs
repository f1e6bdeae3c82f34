// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, SystemTime};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::{FlakyPolicy, RunHeader, ScenarioId};
use crate::check::{Finding, Outcome};
use crate::machine::{Fault, StartReport};

/// Version of the JSON-lines format of events. It is raised when a field is removed or changes its
/// meaning; fields may be added within a version.
pub const FORMAT: u32 = 1;

/// An event of a run. All results leave the runner as events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// time in microseconds since the Unix epoch
    pub time_us: u64,
    /// what happened
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
        header: RunHeader,
        /// the scenarios to run, sorted
        scenarios: Vec<ScenarioId>,
        /// the most scenarios at a time
        jobs: usize,
        /// seed of the shuffled order, if the order is shuffled
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<u64>,
        /// how a flaky scenario affects the verdict
        #[serde(default)]
        flaky: FlakyPolicy,
    },
    /// a selected scenario is not run
    ScenarioSkipped {
        /// the scenario
        scenario: ScenarioId,
        /// why
        reason: String,
    },
    /// a scenario starts, or is retried on new machines
    ScenarioStarted {
        /// the scenario
        scenario: ScenarioId,
        /// one line that describes the scenario
        summary: String,
        /// directory for the files of this attempt
        directory: Utf8PathBuf,
        /// 1-based number of the attempt
        #[serde(default = "first")]
        attempt: u32,
        /// number of steps, with the repeated ones of `hold` and the sweeps
        steps: usize,
        /// names of its machines; empty for a single machine. Each machine has a directory of its name in
        /// the directory of the attempt
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        machines: Vec<String>,
    },
    /// a wait begins
    Waiting {
        /// the scenario
        scenario: ScenarioId,
        /// object of the wait, as it follows "waiting for"
        what: String,
    },
    /// a wait exceeds its limit
    Overdue {
        /// the scenario
        scenario: ScenarioId,
        /// object of the wait, as it follows "waiting for"
        what: String,
        /// the limit in milliseconds
        expected_ms: u64,
        /// the time at which the wait fails, in milliseconds since its beginning
        limit_ms: u64,
    },
    /// a guest reported that it is ready
    MachineReady {
        /// the scenario
        scenario: ScenarioId,
        /// name of the machine; absent for a single machine
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine: Option<String>,
        /// id of the boot
        boot_id: String,
        /// output of `systemctl is-system-running`
        state: String,
        /// milliseconds since power-on, the reboot, or the order to restore the machine
        duration_ms: u64,
        /// cold or warm start; absent after a reboot
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start: Option<StartReport>,
    },
    /// a step ended
    StepFinished {
        /// the scenario
        scenario: ScenarioId,
        /// name of the machine; absent for a single machine
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine: Option<String>,
        /// 1-based number in the order of execution
        step: usize,
        /// title of the step
        summary: String,
        /// passed, failed, skipped or broken
        outcome: Outcome,
        /// what was expected and found
        finding: Option<Finding>,
        /// number of tries under `within`
        attempts: u32,
        /// duration in milliseconds
        duration_ms: u64,
    },
    /// an attempt did not pass and is followed by another
    AttemptFinished {
        /// the scenario
        scenario: ScenarioId,
        /// 1-based number of the attempt
        attempt: u32,
        /// failed or broken
        outcome: Outcome,
        /// why it ended early
        cause: Option<Cause>,
        /// duration in milliseconds
        duration_ms: u64,
    },
    /// a machine is left running
    MachineKept {
        /// the scenario
        scenario: ScenarioId,
        /// name of the machine; absent for a single machine
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine: Option<String>,
        /// name for `loadgauge stop`
        name: String,
        /// command line that opens a shell in the guest
        ssh: String,
    },
    /// a scenario ended
    ScenarioFinished {
        /// the scenario
        scenario: ScenarioId,
        /// outcome of all attempts together
        outcome: Outcome,
        /// why it ended early
        cause: Option<Cause>,
        /// duration of all attempts together, in milliseconds
        duration_ms: u64,
    },
    /// the last event of every run
    RunFinished {
        /// number of scenarios by outcome
        counts: Counts,
        /// whether the user interrupted it
        interrupted: bool,
        /// duration in milliseconds
        duration_ms: u64,
    },
}

/// The number of the attempt in events that do not have one.
fn first() -> u32 {
    1
}

/// Why a scenario ended before its last step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// one line
    pub message: String,
    /// what the user can do
    pub hint: Option<String>,
    /// the fault of the machine, if it died
    pub fault: Option<Fault>,
    /// name of the machine; absent for a single machine
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// Numbers of scenarios by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// passed at the first attempt
    pub passed: usize,
    /// passed at a later attempt
    pub flaky: usize,
    /// did not pass
    pub failed: usize,
    /// not run
    pub skipped: usize,
    /// could not be judged, because of the host or the harness
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
    /// An event with the current time.
    pub fn now(kind: EventKind) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { time_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX), kind }
    }
}

/// Whole milliseconds, as events carry durations.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
