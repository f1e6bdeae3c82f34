// SPDX-License-Identifier: Apache-2.0
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use loadgauge_images::Facts;
use tokio::sync::OnceCell;

use super::diagnosis::hint_for;
use super::liveness::{check_lost_connection, failure_of, with_liveness_checks};
use super::{GuestOperation, GuestReady, RetainedMachines, SshAccess, StartFailure, TestMachine};
use crate::check::{Finding, Outcome, Sweep, check_within, sweep};
use crate::guest::{Command, Guest, GuestError, Phase};
use crate::machine::{Fault, HostShare, Machine, StartReport, USER};

/// How many lines of the console are shown when a scenario takes too long.
const TAIL: usize = 20;
/// The kernel draws the boot id anew at each boot (random(4)).
const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";
/// Context of the fault where a ready guest does not accept connections.
const READY: &str = "the guest reported that it is ready";
/// Through systemd, so that services are stopped as for an administrator.
const REBOOT: &str = "sudo systemctl reboot";

/// A QEMU machine with the connection to its guest.
#[derive(Debug)]
pub struct RunningMachine {
    machine: Machine,
    started: StartReport,
    retained: Option<Arc<RetainedMachines>>,
    facts: Facts,
    factor: f64,
    guest: OnceLock<Guest>,
    /// the findings of all sweeps, which are made together when the first is needed
    swept: OnceCell<Vec<(Sweep, Finding)>>,
}

impl RunningMachine {
    /// A machine that was started, without a connection yet. `factor` is that of its acceleration.
    pub(super) fn new(
        machine: Machine,
        started: StartReport,
        retained: Option<Arc<RetainedMachines>>,
        facts: Facts,
        factor: f64,
    ) -> Self {
        let (guest, swept) = (OnceLock::new(), OnceCell::new());
        Self { machine, started, retained, facts, factor, guest, swept }
    }

    fn guest(&self) -> Result<&Guest, StartFailure> {
        self.guest.get().ok_or_else(|| StartFailure::plain("not connected to the guest yet"))
    }

    /// The finding of a sweep. Sweeps come after all other operations.
    async fn sweep(&self, wanted: Sweep, guest: &Guest) -> Finding {
        let swept = self.swept.get_or_init(|| sweep(guest)).await;
        let found = swept.iter().find(|(sweep, _)| *sweep == wanted);
        found.map_or_else(
            || broken(&StartFailure::plain("the sweep has no finding")),
            |(_, finding)| finding.clone(),
        )
    }
}

impl TestMachine for RunningMachine {
    type Operation = GuestOperation;

    async fn wait_until_ready(&self, after: Option<&str>, limit: Duration) -> Result<GuestReady, Fault> {
        let ready = self.machine.ready(after, limit).await?;
        let started = after.is_none().then(|| self.started.clone());
        Ok(GuestReady { boot_id: ready.boot_id, state: ready.state, since: ready.since, started })
    }

    async fn fault(&self) -> Fault {
        self.machine.fault().await
    }

    async fn connect(&self, limit: Duration) -> Result<(), StartFailure> {
        let machine = &self.machine;
        let limit = limit.mul_f64(machine.host_share().slowdown());
        if let Some(guest) = self.guest.get() {
            return match with_liveness_checks(machine, self.factor, READY, guest.reconnect(limit)).await {
                Ok(()) => Ok(()),
                Err(error) => Err(failure_of(machine, &error).await),
            };
        }
        let connecting =
            Guest::connect_to(machine.ssh_address(), USER, machine.key(), machine.host_key(), limit);
        let guest = match with_liveness_checks(machine, self.factor, READY, connecting).await {
            Ok(guest) => guest,
            Err(error) => return Err(failure_of(machine, &error).await),
        };
        // A concurrent connection would serve as well; the runner makes none.
        self.guest.get_or_init(|| guest.scaled(self.factor));
        Ok(())
    }

    async fn execute(&self, operation: &GuestOperation, within: Option<Duration>) -> (Finding, u32) {
        let guest = match self.guest() {
            Ok(guest) => guest,
            Err(failure) => return (broken(&failure), 1),
        };
        let slowdown = self.machine.host_share().slowdown();
        guest.slow_down(slowdown);
        let within = within.map(|within| within.mul_f64(slowdown));
        let time_outs = guest.time_outs();
        let execution = async {
            match operation {
                GuestOperation::Check(check) => {
                    check_within(check, guest, &self.facts, within, |_, _| {}).await
                }
                GuestOperation::Change(change) => (change.apply(guest).await, 1),
                GuestOperation::Sweep(sweep) => (self.sweep(*sweep, guest).await, 1),
            }
        };
        let executed =
            with_liveness_checks(&self.machine, self.factor, "a command is not answered", execution).await;
        if let (Outcome::Broken, Some(reason)) = (executed.0.outcome, guest.lost()) {
            check_lost_connection(&self.machine, self.factor, &reason).await;
        }
        let ran_out_of_time = within.is_some() || guest.time_outs() != time_outs;
        let (finding, attempts) = executed;
        (on_a_starving_host(finding, ran_out_of_time, self.machine.host_share()), attempts)
    }

    async fn reboot(&self) -> Result<(), StartFailure> {
        match self.guest()?.run(Command::new(REBOOT)).await {
            Ok(output) if output.exit.success() => Ok(()),
            Ok(output) => {
                let message =
                    format!("`{REBOOT}` ended with {}: {}", output.exit, output.error_text().trim());
                Err(StartFailure::plain(message))
            }
            // The connection may end before the answer.
            Err(GuestError::Lost { phase: Phase::Transfer | Phase::Status, .. }) => Ok(()),
            Err(error) => Err(failure_of(&self.machine, &error).await),
        }
    }

    async fn boot_id(&self) -> Result<String, StartFailure> {
        match self.guest()?.run(Command::new(BOOT_ID)).await {
            Ok(output) => Ok(output.text().trim().to_owned()),
            Err(error) => Err(failure_of(&self.machine, &error).await),
        }
    }

    fn host_share(&self) -> HostShare {
        self.machine.host_share()
    }

    fn console_tail(&self) -> Vec<String> {
        self.machine.console_tail(TAIL)
    }

    async fn stop(self) {
        if let Some(guest) = self.guest.get() {
            guest.close().await;
        }
        let stopped = self.machine.stop().await;
        tracing::debug!(?stopped, "the machine was stopped");
    }

    async fn keep(self, name: &str) -> Result<SshAccess, StartFailure> {
        let Some(retained) = self.retained.clone() else {
            self.stop().await;
            return Err(StartFailure::plain("machines cannot be left running in this run"));
        };
        if let Some(guest) = self.guest.get() {
            guest.close().await;
        }
        retained.add(name, self.machine).map_err(|error| StartFailure::of(&error))
    }
}

/// A finding, which says nothing about the guest if it failed for lack of time on a host that had no processor
/// for the guest.
fn on_a_starving_host(finding: Finding, ran_out_of_time: bool, share: HostShare) -> Finding {
    if finding.outcome != Outcome::Failed || !ran_out_of_time || !share.is_starved() {
        return finding;
    }
    let fault = Fault::starved("the step".to_owned(), share, Vec::new());
    Finding {
        outcome: Outcome::Broken,
        found: format!("{fault}\n{}", finding.found),
        hint: hint_for(&fault),
        ..finding
    }
}

fn broken(failure: &StartFailure) -> Finding {
    let found = match failure {
        StartFailure::Fault(fault) => fault.to_string(),
        StartFailure::Other { message, .. } => message.clone(),
    };
    let expected = "the guest runs commands".to_owned();
    Finding { outcome: Outcome::Broken, expected, found, hint: None, commands: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_ran_out_of_time_on_a_starving_host_is_broken() {
        let failed = || Finding { outcome: Outcome::Failed, ..broken(&StartFailure::plain("late")) };
        let share = |lost| HostShare { wall: Duration::from_mins(1), lost: Duration::from_secs(lost) };
        let found = on_a_starving_host(failed(), true, share(50));
        assert_eq!(found.outcome, Outcome::Broken);
        assert!(
            found.found.starts_with("the host had no processor for the guest in 50 of 60 s"),
            "{found:?}"
        );
        assert!(found.found.ends_with("late") && found.hint.is_some(), "{found:?}");
        assert_eq!(on_a_starving_host(failed(), true, share(5)).outcome, Outcome::Failed);
        assert_eq!(
            on_a_starving_host(failed(), false, share(50)).outcome,
            Outcome::Failed,
            "it had the time"
        );
    }
}
