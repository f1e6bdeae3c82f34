// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::{Budget, FlakyPolicy, Needs, Order};
use crate::check::Outcome;
use crate::machine::Acceleration;

/// Everything that a run executes.
#[derive(Debug, Clone)]
pub struct Run<C> {
    /// what the first event says
    pub header: Header,
    /// the scenarios, in any order
    pub jobs: Vec<Job<C>>,
    /// the scenarios that were selected and are not run
    pub skipped: Vec<Skipped>,
    /// in which order they are started
    pub order: Order,
    /// what they may take of the host together
    pub budget: Budget,
    /// whether no scenario is started any more once one did not pass
    pub fail_fast: bool,
    /// how often a scenario that did not pass is tried again
    pub retries: u32,
    /// what a scenario makes of the verdict that passes only then
    pub flaky: FlakyPolicy,
    /// which machines are left running
    pub keep: KeepPolicy,
    /// how long to wait, already for the accelerator in use
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
    /// Whether a machine is left running whose scenario came to this.
    pub(super) fn keeps(self, outcome: Outcome) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => matches!(outcome, Outcome::Failed | Outcome::Broken),
            Self::Always => true,
        }
    }
}

/// Facts about a run that its first event contains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
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
}

/// A scenario that is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// its name
    pub scenario: String,
    /// why
    pub reason: String,
}

/// A scenario, ready to be executed. `C` is what a guest can be asked.
#[derive(Debug, Clone)]
pub struct Job<C> {
    /// what the run calls it; unique within the run: the scenario's name, and `NAME@2` for its
    /// second repetition
    pub name: String,
    /// the scenario's own name
    pub scenario: String,
    /// what its machines take of the host
    pub needs: Needs,
    /// what it is about
    pub summary: String,
    /// where its files are written
    pub directory: Utf8PathBuf,
    /// how long the whole should take, for KVM: past it, there is a warning that says what is waited
    /// for, and past twice as long it is ended
    pub timeout: Duration,
    /// the names of its machines: one that is empty, or several
    pub machines: Vec<String>,
    /// in the order of execution, the sweeps among them
    pub steps: Vec<JobStep<C>>,
}

impl<C> Job<C> {
    /// What one of its machines is called, counted from 0; nothing where it is the only one.
    pub fn name_of(&self, machine: usize) -> Option<&str> {
        self.machines.get(machine).map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// A step, ready to be executed.
#[derive(Debug, Clone)]
pub struct JobStep<C> {
    /// what it claims
    pub summary: String,
    /// what is done
    pub action: Action<C>,
    /// to which of the machines, counted from 0
    pub machine: usize,
    /// for how long a question is repeated until the answer is right, for KVM
    pub within: Option<Duration>,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Action<C> {
    /// asks the guest
    Ask(C),
    /// does nothing and says why
    Waive {
        /// why
        reason: String,
    },
    /// reboots the guest; a failure ends the scenario, as there is no known state to go on from
    Reboot,
}

/// How long what the runner waits for should take. Past it, an event says what is waited for; past
/// [`Limits::GIVE_UP`] times as long it is given up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// from power-on, or from the order to reboot, until the guest says that it is up
    pub boot: Duration,
    /// the SSH connection to a guest that is up
    pub connect: Duration,
    /// for a machine to be found dead after its guest stopped to answer: a lost connection is mostly
    /// the consequence of a death, and the death is the better cause to report; without a warning
    pub aftermath: Duration,
    /// for a machine to stop in order; it is killed then, without a warning
    pub stop: Duration,
    /// by how much time-outs are multiplied that a scenario gives
    pub factor: f64,
}

impl Limits {
    /// How many times as long as it should take something is waited for.
    pub const GIVE_UP: u32 = 2;

    /// The limits under an accelerator: 30 s for a boot and 10 s for a connection under KVM, and
    /// as many times more as the accelerator is slower. Stopping is the host's work, 20 s always.
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
