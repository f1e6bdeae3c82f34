// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use loadgauge_host::error::on_one_line;
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use futures_util::future::try_join_all;
use loadgauge_images::Facts;
use tokio::sync::OnceCell;

use super::liveness::{broke_off, trouble_of, with_liveness_checks};
use super::{MachineProvider, Question, RetainedMachines, SshAccess, StartFailure, TestMachine, Up};
use crate::check::{Finding, Outcome, Sweep, judge_within, sweep};
use crate::guest::{Command, Guest, GuestError, Phase};
use crate::machine::{
    Decision, Fault, Machine, MachineContext, MachinePlan, MachineStarter, PeerNetwork, StartReport,
    StarterError, Supervisor, USER,
};

/// How much of the console is shown when a scenario takes too long.
const TAIL: usize = 20;
/// Where the kernel says which boot this is, drawn anew at each (random(4)).
const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";
/// What stands before the reason where a guest that is up does not take a connection.
const UP: &str = "the guest says that it is up";
/// Ordered through systemd, so that services are stopped as an administrator's reboot stops them.
const REBOOT: &str = "sudo systemctl reboot";

/// The provider of real runs: QEMU's machines, and their guests over SSH.
#[derive(Debug)]
pub struct Machines {
    scenarios: HashMap<String, Vec<Assigned>>,
    starter: MachineStarter,
    relay_program: Utf8PathBuf,
    supervisor: Supervisor,
    kept: Option<Arc<RetainedMachines>>,
}

/// A machine that a scenario has, and how it is to start.
#[derive(Debug, Clone)]
pub struct Assigned {
    /// what the scenario calls it; empty where it is the only one
    pub name: String,
    /// the machine
    pub plan: MachinePlan,
    /// cold or warm
    pub decision: Decision,
}

/// A machine of QEMU, and the connection to its guest once there is one.
#[derive(Debug)]
pub struct RunningMachine {
    machine: Machine,
    started: StartReport,
    kept: Option<Arc<RetainedMachines>>,
    facts: Facts,
    factor: f64,
    guest: OnceLock<Guest>,
    /// all sweeps at once, made when the first is asked for
    swept: OnceCell<Vec<(Sweep, Finding)>>,
}

impl Machines {
    /// A provider for the machines of these scenarios. Their guests reach the harness through `relay_program` (see [`Machine::start`]); `supervisor` ends what is left of them.
    pub fn new(
        scenarios: impl IntoIterator<Item = (String, Vec<Assigned>)>,
        starter: MachineStarter,
        relay_program: Utf8PathBuf,
        supervisor: Supervisor,
    ) -> Self {
        let scenarios = scenarios.into_iter().collect();
        Self { scenarios, starter, relay_program, supervisor, kept: None }
    }

    /// The same, which hands machines that are to be left running to a keeper.
    #[must_use]
    pub fn keeping(self, kept: Arc<RetainedMachines>) -> Self {
        Self { kept: Some(kept), ..self }
    }
}

impl MachineProvider for Machines {
    type Check = Question;
    type TestMachine = RunningMachine;

    async fn start(
        &self,
        scenario: &str,
        directory: &Utf8Path,
    ) -> Result<Vec<RunningMachine>, (usize, StartFailure)> {
        let Some(assigned) = self.scenarios.get(scenario) else {
            return Err((0, StartFailure::plain(format!("no machine is planned for `{scenario}`"))));
        };
        let segment = PeerNetwork::new();
        let starts = assigned.iter().enumerate().map(async |(number, assigned)| {
            let own =
                if assigned.name.is_empty() { directory.to_owned() } else { directory.join(&assigned.name) };
            self.start_one(assigned, &own, &segment).await.map_err(|trouble| (number, trouble))
        });
        try_join_all(starts).await
    }
}

impl Machines {
    async fn start_one(
        &self,
        assigned: &Assigned,
        directory: &Utf8Path,
        segment: &PeerNetwork,
    ) -> Result<RunningMachine, StartFailure> {
        let Assigned { plan, decision, .. } = assigned;
        let (facts, factor) = (plan.image.facts.clone(), plan.acceleration.factor);
        let place = MachineContext { directory, relay: &self.relay_program, supervisor: &self.supervisor };
        let started = self.starter.start(plan.clone(), decision, place).await;
        let (mut machine, started) = started.map_err(|error| match error {
            StarterError::Start(error) => trouble(&error, error.hint()),
            StarterError::Fault(fault) => fault.into(),
        })?;
        machine.join(segment, &self.supervisor);
        let kept = self.kept.clone();
        Ok(RunningMachine {
            machine,
            started,
            kept,
            facts,
            factor,
            guest: OnceLock::new(),
            swept: OnceCell::new(),
        })
    }
}

impl RunningMachine {
    fn guest(&self) -> Result<&Guest, StartFailure> {
        self.guest.get().ok_or_else(|| StartFailure::plain("there is no connection to the guest yet"))
    }

    /// One of the sweeps. They are made with one command, and come after all other questions.
    async fn sweep(&self, asked: Sweep, guest: &Guest) -> Finding {
        let swept = self.swept.get_or_init(|| sweep(guest)).await;
        let found = swept.iter().find(|(sweep, _)| *sweep == asked);
        found.map_or_else(
            || broken(&StartFailure::plain("the guest could not be swept")),
            |(_, finding)| finding.clone(),
        )
    }
}

impl TestMachine for RunningMachine {
    type Check = Question;

    async fn up(&self, after: Option<&str>, limit: Duration) -> Result<Up, Fault> {
        let ready = self.machine.ready(after, limit).await?;
        // A reboot is one whichever way the machine came to run.
        let started = after.is_none().then(|| self.started.clone());
        Ok(Up { boot_id: ready.boot_id, state: ready.state, since: ready.since, started })
    }

    async fn fault(&self) -> Fault {
        self.machine.fault().await
    }

    async fn connect(&self, limit: Duration) -> Result<(), StartFailure> {
        let machine = &self.machine;
        if let Some(guest) = self.guest.get() {
            return match with_liveness_checks(machine, self.factor, UP, guest.reconnect(limit)).await {
                Ok(()) => Ok(()),
                Err(error) => Err(trouble_of(machine, &error).await),
            };
        }
        let connecting =
            Guest::connect_to(machine.ssh_address(), USER, machine.key(), machine.host_key(), limit);
        let guest = match with_liveness_checks(machine, self.factor, UP, connecting).await {
            Ok(guest) => guest,
            Err(error) => return Err(trouble_of(machine, &error).await),
        };
        // Nobody else connects this machine; were it so, the first connection would do as well.
        self.guest.get_or_init(|| guest.scaled(self.factor));
        Ok(())
    }

    async fn judge(&self, question: &Question, within: Option<Duration>) -> (Finding, u32) {
        let guest = match self.guest() {
            Ok(guest) => guest,
            Err(trouble) => return (broken(&trouble), 1),
        };
        let asked = async {
            match question {
                Question::Check(check) => judge_within(check, guest, &self.facts, within, |_, _| {}).await,
                Question::Change(change) => (change.make(guest).await, 1),
                Question::Sweep(asked) => (self.sweep(*asked, guest).await, 1),
            }
        };
        let judged =
            with_liveness_checks(&self.machine, self.factor, "a command is not answered", asked).await;
        if let (Outcome::Broken, Some(reason)) = (judged.0.outcome, guest.lost()) {
            broke_off(&self.machine, self.factor, &reason).await;
        }
        judged
    }

    async fn reboot(&self) -> Result<(), StartFailure> {
        match self.guest()?.run(Command::new(REBOOT)).await {
            Ok(output) if output.exit.success() => Ok(()),
            Ok(output) => {
                let message =
                    format!("`{REBOOT}` ended with {}: {}", output.exit, output.error_text().trim());
                Err(StartFailure::plain(message))
            }
            // The guest goes down while it answers.
            Err(GuestError::Lost { phase: Phase::Transfer | Phase::Status, .. }) => Ok(()),
            Err(error) => Err(trouble_of(&self.machine, &error).await),
        }
    }

    async fn boot_id(&self) -> Result<String, StartFailure> {
        match self.guest()?.run(Command::new(BOOT_ID)).await {
            Ok(output) => Ok(output.text().trim().to_owned()),
            Err(error) => Err(trouble_of(&self.machine, &error).await),
        }
    }

    fn console_tail(&self) -> Vec<String> {
        self.machine.console_tail(TAIL)
    }

    async fn stop(self) {
        if let Some(guest) = self.guest.get() {
            guest.close().await;
        }
        let stopped = self.machine.stop().await;
        tracing::debug!(?stopped, "the machine is stopped");
    }

    async fn keep(self, name: &str) -> Result<SshAccess, StartFailure> {
        let Some(kept) = self.kept.clone() else {
            self.stop().await;
            return Err(StartFailure::plain("nobody keeps machines in this run"));
        };
        if let Some(guest) = self.guest.get() {
            guest.close().await;
        }
        kept.take(name, self.machine).map_err(|error| trouble(&error, None))
    }
}

fn trouble(error: &(dyn Error + 'static), hint: Option<String>) -> StartFailure {
    StartFailure::Other { message: on_one_line(error), hint }
}

fn broken(trouble: &StartFailure) -> Finding {
    let found = match trouble {
        StartFailure::Fault(fault) => fault.to_string(),
        StartFailure::Other { message, .. } => message.clone(),
    };
    let expected = "the guest can be asked".to_owned();
    Finding { outcome: Outcome::Broken, expected, found, hint: None, commands: Vec::new() }
}
