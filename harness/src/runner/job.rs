// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::{Budget, FlakyPolicy, Needs, ScenarioId, StartOrder};
use crate::check::Outcome;
use crate::machine::Acceleration;

/// Everything that a run executes.
#[derive(Debug, Clone)]
pub struct Run<C> {
    /// the properties of the run for its first event
    pub header: RunHeader,
    /// the scenarios, in any order
    pub jobs: Vec<Job<C>>,
    /// the selected scenarios that are not run
    pub skipped: Vec<Skipped>,
    /// the order in which scenarios start
    pub order: StartOrder,
    /// the resources of the host that they may use together
    pub budget: Budget,
    /// whether no scenario starts after one that did not pass
    pub fail_fast: bool,
    /// how often a scenario that did not pass is retried
    pub retries: u32,
    /// how a scenario that passes only then affects the verdict
    pub flaky: FlakyPolicy,
    /// which machines are left running
    pub keep: KeepPolicy,
    /// time limits, scaled for the accelerator
    pub limits: Limits,
}

/// Which machines are left running when their scenario ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum KeepPolicy {
    /// No machine
    #[default]
    Never,
    /// Machines of scenarios that failed or broke, if they are still alive
    OnFailure,
    /// Every machine
    Always,
}

impl KeepPolicy {
    /// Whether the machines of a scenario with this outcome are left running.
    pub(super) fn keeps(self, outcome: Outcome) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => matches!(outcome, Outcome::Failed | Outcome::Broken),
            Self::Always => true,
        }
    }
}

/// The properties of a run that its first event contains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// version of loadgauge
    pub version: String,
    /// directory of the run
    pub directory: Utf8PathBuf,
    /// disk of the image
    pub image: Utf8PathBuf,
    /// SHA-256 of the disk
    pub image_digest: String,
    /// `PRETTY_NAME` of its os-release
    pub image_name: String,
    /// accelerator, with the reason
    pub acceleration: Acceleration,
}

/// A scenario that is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// identity of the scenario
    pub scenario: ScenarioId,
    /// why it is not run
    pub reason: String,
}

/// A scenario, ready for execution. `C` is the type of operations in guests.
#[derive(Debug, Clone)]
pub struct Job<C> {
    /// identity, unique within the run
    pub id: ScenarioId,
    /// resources that its machines need
    pub needs: Needs,
    /// one line that describes the scenario
    pub summary: String,
    /// directory for its files
    pub directory: Utf8PathBuf,
    /// time that the whole scenario should take, for KVM; after it a warning is emitted, and after
    /// [`Limits::GIVE_UP`] times as long the scenario fails
    pub timeout: Duration,
    /// names of its machines; a single machine has an empty one
    pub machines: Vec<String>,
    /// steps in the order of execution, with the sweeps
    pub steps: Vec<JobStep<C>>,
}

impl<C> Job<C> {
    /// The name of a machine, given its 0-based number; absent for a single machine.
    pub fn name_of(&self, machine: usize) -> Option<&str> {
        self.machines.get(machine).map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// A step, ready for execution.
#[derive(Debug, Clone)]
pub struct JobStep<C> {
    /// title of the step
    pub summary: String,
    /// what the step does
    pub action: Action<C>,
    /// what the step is in its scenario
    pub role: StepRole,
    /// 0-based number of the machine
    pub machine: usize,
    /// time for which the operation is repeated until it passes, for KVM
    pub within: Option<Duration>,
}

/// What a step is in its scenario, which decides whether it is executed after a failed step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepRole {
    /// a check: executed, as long as no action was left out
    Check,
    /// an action: left out, with all later checks, so that a failed check protects the guest from it
    Action,
    /// a sweep: executed
    Sweep,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Action<C> {
    /// does an operation in the guest
    Execute(C),
    /// does nothing
    Waive {
        /// the author's reason
        reason: String,
    },
    /// reboots the guest; a failure ends the scenario, since the state of the guest is unknown then
    Reboot,
}

/// Time limits of the runner. After a limit an event names what is waited for; after
/// [`Limits::GIVE_UP`] times the limit the wait fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// from power-on or reboot until the guest reports that it is ready
    pub boot: Duration,
    /// the SSH connection to a guest that is ready
    pub connect: Duration,
    /// how long the fault of a machine is awaited after the connection to its guest was lost, since the
    /// fault is the better cause to report; without a warning
    pub aftermath: Duration,
    /// for a machine to stop; then it is killed, without a warning
    pub stop: Duration,
    /// the factor for time-outs of scenarios
    pub factor: f64,
}

impl Limits {
    /// How many times its limit a wait lasts until it fails.
    pub const GIVE_UP: u32 = 2;

    /// The limits for an accelerator: 30 s for a boot and 10 s for a connection under KVM, multiplied by
    /// the measured factor. Stopping does not depend on the guest: 20 s.
    pub fn under(acceleration: &Acceleration) -> Self {
        let factor = acceleration.factor.max(1.0);
        Self {
            boot: Duration::from_secs(30).mul_f64(factor),
            connect: Duration::from_secs(10).mul_f64(factor),
            aftermath: Duration::from_secs(3).mul_f64(factor.min(5.0)),
            stop: Duration::from_secs(20),
            factor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Accelerator;

    #[test]
    fn a_slow_accelerator_gets_more_time() {
        let slow = |factor| Acceleration { accelerator: Accelerator::Tcg, factor, reason: String::new() };
        assert_eq!(Limits::under(&slow(4.0)).boot, Duration::from_mins(2));
        assert_eq!(Limits::under(&slow(0.5)).boot, Duration::from_secs(30), "never less than for KVM");
    }
}
