// SPDX-License-Identifier: Apache-2.0
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use camino::Utf8PathBuf;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::end_reason::{EndReason, any_fault};
use super::event::milliseconds;
use super::options::RunOptions;
use super::panic::panic_message;
use super::wait::Wait;
use super::{
    Action, Cause, EventKind, Events, Job, JobStep, Limits, MachineProvider, SshAccess, StepRole, TestMachine,
};
use crate::check::{Finding, Outcome, evaluate_reboot};
use crate::guest::Transcript;
use crate::machine::Fault;

/// The result of an attempt.
pub(super) struct AttemptResult {
    pub(super) outcome: Outcome,
    pub(super) cause: Option<Cause>,
    /// whether a machine was left running
    pub(super) kept: bool,
}

/// Executes a scenario on new machines. When it returns, the machines are stopped and their files are
/// complete, except for machines that are left running.
pub(super) async fn execute<R: MachineProvider>(
    provider: &R,
    job: &Job<R::Operation>,
    attempt: u32,
    options: &RunOptions,
) -> AttemptResult {
    let directory = if options.retries == 0 {
        job.directory.clone()
    } else {
        job.directory.join(format!("attempt-{attempt}"))
    };
    options.events.emit(EventKind::ScenarioStarted {
        scenario: job.id.clone(),
        summary: job.summary.clone(),
        directory: directory.clone(),
        attempt,
        steps: job.steps.len(),
        machines: (0..job.machines.len())
            .filter_map(|machine| job.name_of(machine))
            .map(str::to_owned)
            .collect(),
    });
    let wait = Wait::new(&job.id, &options.events);
    let mut execution = Execution {
        provider,
        job,
        limits: options.limits,
        events: &options.events,
        wait: wait.clone(),
        directory,
        machines: Vec::new(),
        boot_ids: vec![String::new(); job.machines.len()],
        current: 0,
        reported: 0,
        step_started: None,
        commands: Vec::new(),
        guard: None,
        first_failure: None,
    };
    let limit = job.timeout.mul_f64(options.limits.factor);
    let steps = AssertUnwindSafe(execution.steps()).catch_unwind();
    let end = tokio::select! {
        biased;
        () = options.interrupted.cancelled() => Err(EndReason::Interrupted),
        end = steps => end.unwrap_or_else(|panic| Err(EndReason::Panicked(panic_message(panic.as_ref())))),
        () = wait.overrun(limit) => Err(EndReason::TimedOut { limit: limit * Limits::GIVE_UP, awaited: wait.what() }),
    };
    let end = end.map_err(|reason| execution.with_console(reason));
    let (outcome, cause) = execution.close(end);
    let kept = execution.stop_or_keep(outcome, attempt, options).await;
    AttemptResult { outcome, cause, kept }
}

struct Execution<'a, R: MachineProvider> {
    provider: &'a R,
    job: &'a Job<R::Operation>,
    limits: Limits,
    events: &'a Events,
    wait: Wait,
    directory: Utf8PathBuf,
    /// the machines in the order of the job, once they run
    machines: Vec<Arc<R::TestMachine>>,
    /// the current boot id of each machine
    boot_ids: Vec<String>,
    /// 0-based number of the machine that is waited for
    current: usize,
    /// number of steps that were reported
    reported: usize,
    /// when the current step started
    step_started: Option<Instant>,
    /// commands of the current step, if a machine died during it
    commands: Vec<Transcript>,
    /// 1-based number of the step whose failure left out an action
    guard: Option<usize>,
    /// 1-based number of the first step that failed
    first_failure: Option<usize>,
}

impl<R: MachineProvider> Execution<'_, R> {
    async fn steps(&mut self) -> Result<(), EndReason> {
        let several = self.job.machines.len() > 1;
        self.waiting(if several { "the machines to start" } else { "the machine to start" });
        let machines = self.provider.start(&self.job.id, &self.directory).await;
        let machines = machines.map_err(|(machine, failure)| EndReason::Machine { machine, failure })?;
        let machines: Vec<_> = machines.into_iter().map(Arc::new).collect();
        self.machines.clone_from(&machines);
        // Weak: whoever stops the machines has the last references.
        let weak: Vec<_> = machines.iter().map(Arc::downgrade).collect();
        self.wait.slowed_by(move || {
            let machines = weak.iter().filter_map(std::sync::Weak::upgrade);
            machines.map(|machine| machine.host_share().slowdown()).fold(1.0, f64::max)
        });
        // They boot at the same time; the order of the waits does not matter.
        for number in 0..machines.len() {
            self.wait_and_connect(&machines, number, None).await?;
        }
        for index in 0..self.job.steps.len() {
            self.step(&machines, index).await?;
        }
        // A machine may have died during the last step.
        any_fault(&machines).now_or_never().map_or(Ok(()), Err)
    }

    /// Waits until a guest is ready and connects to it.
    async fn wait_and_connect(
        &mut self,
        machines: &[Arc<R::TestMachine>],
        number: usize,
        after: Option<&str>,
    ) -> Result<(), EndReason> {
        let machine = &*machines[number];
        self.current = number;
        self.waiting(&format!("{} to be ready", self.guest(number)));
        let ready = tokio::select! {
            biased;
            fault = any_fault(machines) => return Err(fault),
            ready = self.wait.with_warning(self.limits.boot, async |limit| {
                machine.wait_until_ready(after, limit).await
            }) => ready,
        };
        let ready = ready.map_err(|fault| EndReason::Machine { machine: number, failure: fault.into() })?;
        self.events.emit(EventKind::MachineReady {
            scenario: self.job.id.clone(),
            machine: self.name_of(number),
            boot_id: ready.boot_id.clone(),
            state: ready.state,
            duration_ms: milliseconds(ready.since),
            start: ready.started,
        });
        self.boot_ids[number] = ready.boot_id;
        let guest = self.name_of(number).map(|name| format!(" to the guest `{name}`"));
        self.waiting(&format!("an SSH connection{}", guest.unwrap_or_default()));
        let connected = tokio::select! {
            biased;
            fault = any_fault(machines) => return Err(fault),
            connected = self.wait.with_warning(self.limits.connect, async |limit| machine.connect(limit).await) => {
                connected
            }
        };
        match connected {
            Ok(()) => Ok(()),
            Err(failure) => {
                let failure = EndReason::Machine { machine: number, failure };
                Err(self.wait_for_fault(machines).await.unwrap_or(failure))
            }
        }
    }

    async fn step(&mut self, machines: &[Arc<R::TestMachine>], index: usize) -> Result<(), EndReason> {
        let step = &self.job.steps[index];
        if let Some(failed) = self.left_out_after(step.role) {
            let found = format!("not done: step {failed} failed, and no action follows a failed step");
            self.report(step, Outcome::Skipped, Some(skipped(found)), 0);
            return Ok(());
        }
        let machine = &*machines[step.machine];
        self.current = step.machine;
        self.step_started = Some(Instant::now());
        let (finding, attempts) = match &step.action {
            Action::Execute(operation) => {
                self.waiting(&format!("step {}, {}", index + 1, step.summary));
                let within = step.within.map(|within| within.mul_f64(self.limits.factor));
                tokio::select! {
                    biased;
                    fault = any_fault(machines) => return Err(fault),
                    executed = machine.execute(operation, within) => executed,
                }
            }
            Action::Waive { reason } => (skipped(format!("waived: {reason}")), 0),
            Action::Reboot => (self.reboot(machines, step.machine).await?, 1),
        };
        let outcome = finding.outcome;
        if outcome == Outcome::Broken
            && let Some(reason) = self.wait_for_fault(machines).await
        {
            // The step is reported with the fault as its cause.
            self.commands = finding.commands;
            return Err(reason);
        }
        self.report(step, outcome, Some(finding), attempts);
        match (outcome, &step.action) {
            (Outcome::Broken, _) | (Outcome::Failed, Action::Reboot) => Err(EndReason::Step(index + 1)),
            _ => Ok(()),
        }
    }

    /// The number of the failed step after which a step is left out: no action follows a failed step, and
    /// no check follows an action that was left out.
    fn left_out_after(&mut self, role: StepRole) -> Option<usize> {
        match role {
            StepRole::Sweep => None,
            StepRole::Check => self.guard,
            StepRole::Action => {
                self.guard = self.first_failure;
                self.guard
            }
        }
    }

    /// Reboots a guest and checks that it is another boot.
    async fn reboot(
        &mut self,
        machines: &[Arc<R::TestMachine>],
        number: usize,
    ) -> Result<Finding, EndReason> {
        let machine = &*machines[number];
        let end = |failure| EndReason::Machine { machine: number, failure };
        let before = self.boot_ids[number].clone();
        self.waiting(&format!("{} to accept the reboot", self.guest(number)));
        tokio::select! {
            biased;
            fault = any_fault(machines) => return Err(fault),
            ordered = machine.reboot() => ordered.map_err(end)?,
        }
        self.wait_and_connect(machines, number, Some(&before)).await?;
        let after = tokio::select! {
            biased;
            fault = any_fault(machines) => return Err(fault),
            boot_id = machine.boot_id() => boot_id.map_err(end)?,
        };
        Ok(evaluate_reboot(&before, &self.boot_ids[number], &after).into_finding(Vec::new()))
    }

    /// The fault of a machine, if that is why a guest does not answer.
    async fn wait_for_fault(&self, machines: &[Arc<R::TestMachine>]) -> Option<EndReason> {
        timeout(self.limits.aftermath, any_fault(machines)).await.ok()
    }

    /// Turns a time-out of the scenario into a fault, with the end of the console.
    fn with_console(&self, reason: EndReason) -> EndReason {
        let EndReason::TimedOut { limit, awaited } = reason else { return reason };
        let number = self.current;
        let console = self.machines.get(number).map(|machine| machine.console_tail()).unwrap_or_default();
        let what = format!("the end of the scenario, which was waiting for {awaited},");
        let share = self.machines.get(number).map(|machine| machine.host_share()).unwrap_or_default();
        let fault = if share.is_starved() {
            Fault::starved(what, share, console)
        } else {
            Fault::TimedOut { what, seconds: limit.as_secs(), console }
        };
        EndReason::Machine { machine: number, failure: fault.into() }
    }

    /// The name of a machine; absent for a single machine.
    fn name_of(&self, number: usize) -> Option<String> {
        self.job.name_of(number).map(str::to_owned)
    }

    /// The guest of a machine, for messages.
    fn guest(&self, number: usize) -> String {
        self.name_of(number).map_or("the guest".to_owned(), |name| format!("the guest `{name}`"))
    }

    fn waiting(&self, what: &str) {
        self.wait.begin(what);
    }

    fn report(
        &mut self,
        step: &JobStep<R::Operation>,
        outcome: Outcome,
        finding: Option<Finding>,
        attempts: u32,
    ) {
        let started = self.step_started.take();
        self.reported += 1;
        if outcome == Outcome::Failed {
            self.first_failure.get_or_insert(self.reported);
        }
        self.events.emit(EventKind::StepFinished {
            scenario: self.job.id.clone(),
            machine: self.name_of(step.machine),
            step: self.reported,
            summary: step.summary.clone(),
            outcome,
            finding,
            attempts,
            duration_ms: started.map_or(0, |started| milliseconds(started.elapsed())),
        });
    }

    /// Stops the machines, or leaves them running if the policy says so, they are alive, and there is
    /// memory for them. Returns whether one was left running.
    async fn stop_or_keep(&mut self, outcome: Outcome, attempt: u32, options: &RunOptions) -> bool {
        // These are the last references: the future of the steps has ended or was dropped.
        let machines = std::mem::take(&mut self.machines).into_iter().enumerate();
        let machines = machines.filter_map(|(number, machine)| Some((number, Arc::into_inner(machine)?)));
        let wanted = options.keep.keeps(outcome) && !options.interrupted.is_cancelled();
        let (mut alive, mut to_stop): (Vec<_>, Vec<_>) =
            machines.partition(|(_, machine)| wanted && machine.fault().now_or_never().is_none());
        let permit = if alive.is_empty() { None } else { options.keepable.try_acquire().ok() };
        if !alive.is_empty() && permit.is_none() {
            let scenario = &self.job.id;
            tracing::warn!(%scenario, "the machine is not kept: the host has no memory for one more");
            to_stop.append(&mut alive);
        }
        if !to_stop.is_empty() {
            self.waiting(if to_stop.len() > 1 { "the machines to stop" } else { "the machine to stop" });
            join_all(to_stop.into_iter().map(|(_, machine)| self.stop(machine))).await;
        }
        let mut kept = false;
        for (number, machine) in alive {
            kept |= self.keep(number, machine, attempt).await;
        }
        if let (true, Some(permit)) = (kept, permit) {
            permit.forget();
        }
        kept
    }

    async fn keep(&self, number: usize, machine: R::TestMachine, attempt: u32) -> bool {
        let scenario = self.job.id.clone();
        let machine_name = self.name_of(number);
        let mut name = scenario.to_string();
        if let Some(machine) = &machine_name {
            name = format!("{name}.{machine}");
        }
        if attempt > 1 {
            name = format!("{name}.attempt-{attempt}");
        }
        match machine.keep(&name).await {
            Ok(SshAccess { name, ssh }) => {
                self.events.emit(EventKind::MachineKept { scenario, machine: machine_name, name, ssh });
                true
            }
            Err(failure) => {
                tracing::error!(%scenario, ?failure, "cannot leave the machine running; it was stopped");
                false
            }
        }
    }

    async fn stop(&self, machine: R::TestMachine) {
        let stop = AssertUnwindSafe(machine.stop()).catch_unwind();
        match timeout(self.limits.stop, stop).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => {
                let message = panic_message(panic.as_ref());
                tracing::error!(scenario = %self.job.id, message, "stopping the machine panicked; it was killed");
            }
            Err(_elapsed) => {
                tracing::error!(scenario = %self.job.id, "the machine did not stop in time; it was killed");
            }
        }
    }

    /// Reports the steps that were not reached. Returns the outcome of the attempt.
    fn close(&mut self, end: Result<(), EndReason>) -> (Outcome, Option<Cause>) {
        let Err(reason) = end else {
            return (if self.first_failure.is_some() { Outcome::Failed } else { Outcome::Passed }, None);
        };
        let job = self.job;
        let (outcome, cause) = reason.outcome(job);
        if self.step_started.is_some()
            && let Some(step) = job.steps.get(self.reported)
        {
            let finding = Finding {
                outcome,
                expected: "the step ends".to_owned(),
                found: cause.message.clone(),
                hint: None,
                commands: std::mem::take(&mut self.commands),
            };
            self.report(step, outcome, Some(finding), 1);
        }
        let found = format!("not reached: {}", reason.short());
        for step in job.steps.iter().skip(self.reported) {
            let finding = skipped(found.clone());
            self.report(step, Outcome::Skipped, Some(finding), 0);
        }
        // A failed step stays a failure, whatever came after it.
        (if self.first_failure.is_some() { Outcome::Failed } else { outcome }, Some(cause))
    }
}

/// The finding of a skipped step.
fn skipped(found: String) -> Finding {
    let expected = String::new();
    Finding { outcome: Outcome::Skipped, expected, found, hint: None, commands: Vec::new() }
}
