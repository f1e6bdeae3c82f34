// SPDX-License-Identifier: Apache-2.0
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::attempts::RunOptions;
use super::end_reason::{EndReason, any_fault};
use super::wait::Wait;
use super::{
    Action, Cause, EventKind, Events, Job, JobStep, Limits, MachineProvider, SshAccess, TestMachine,
};
use crate::check::{Finding, Outcome, judge_reboot};
use crate::guest::Transcript;
use crate::machine::Fault;

/// How an attempt ended.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) cause: Option<Cause>,
    /// whether its machine was left running
    pub(super) kept: bool,
}

/// Executes a scenario to its end, whatever that is, on a fresh machine. When it returns, the
/// machine is stopped and its files are complete, unless it is left running.
pub(super) async fn execute<R: MachineProvider>(
    provider: &R,
    job: &Job<R::Check>,
    attempt: u32,
    course: &RunOptions,
) -> Ended {
    // Who asks for no retries finds the files where they always were.
    let directory = if course.retries == 0 {
        job.directory.clone()
    } else {
        job.directory.join(format!("attempt-{attempt}"))
    };
    course.events.emit(EventKind::ScenarioStarted {
        scenario: job.name.clone(),
        summary: job.summary.clone(),
        directory: directory.clone(),
        attempt,
        steps: job.steps.len(),
        machines: (0..job.machines.len())
            .filter_map(|machine| job.name_of(machine))
            .map(str::to_owned)
            .collect(),
    });
    let wait = Wait::new(&job.name, &course.events);
    let mut execution = Execution {
        provider,
        job,
        limits: course.limits,
        events: &course.events,
        wait: wait.clone(),
        directory,
        subjects: Vec::new(),
        boot_ids: vec![String::new(); job.machines.len()],
        current: 0,
        reported: 0,
        under_way: None,
        evidence: Vec::new(),
        failed: false,
    };
    let limit = job.timeout.mul_f64(course.limits.factor);
    let steps = AssertUnwindSafe(execution.steps()).catch_unwind();
    let end = tokio::select! {
        biased;
        () = course.interrupted.cancelled() => Err(EndReason::Interrupted),
        end = steps => end.unwrap_or_else(|panic| Err(EndReason::Panicked(panic_message(panic.as_ref())))),
        () = wait.overrun(limit) => Err(EndReason::Overran { limit: limit * Limits::GIVE_UP, awaited: wait.what() }),
    };
    let end = end.map_err(|halt| execution.with_console(halt));
    let (outcome, cause) = execution.close(end);
    let kept = execution.leave(outcome, attempt, course).await;
    Ended { outcome, cause, kept }
}

struct Execution<'a, R: MachineProvider> {
    provider: &'a R,
    job: &'a Job<R::Check>,
    limits: Limits,
    events: &'a Events,
    wait: Wait,
    directory: Utf8PathBuf,
    /// the machines in the order of the job's, once they run
    subjects: Vec<Arc<R::TestMachine>>,
    /// of the current boot of each
    boot_ids: Vec<String>,
    /// which of them is waited for
    current: usize,
    /// how many steps have been reported
    reported: usize,
    /// since when the step behind them is under way
    under_way: Option<Instant>,
    /// what was run for it until the machine died
    evidence: Vec<Transcript>,
    /// whether a step failed
    failed: bool,
}

impl<R: MachineProvider> Execution<'_, R> {
    async fn steps(&mut self) -> Result<(), EndReason> {
        let several = self.job.machines.len() > 1;
        self.waiting(if several { "the machines to start" } else { "the machine to start" });
        let subjects = self.provider.start(&self.job.scenario, &self.directory).await;
        let subjects = subjects.map_err(|(machine, trouble)| EndReason::StartFailure { machine, trouble })?;
        let subjects: Vec<_> = subjects.into_iter().map(Arc::new).collect();
        self.subjects.clone_from(&subjects);
        // They boot side by side, whichever is waited for.
        for machine in 0..subjects.len() {
            self.bring_up(&subjects, machine, None).await?;
        }
        for index in 0..self.job.steps.len() {
            self.step(&subjects, index).await?;
        }
        // A machine that died over the last step has not got through the scenario.
        any_fault(&subjects).now_or_never().map_or(Ok(()), Err)
    }

    /// Waits until a guest is up and connects to it.
    async fn bring_up(
        &mut self,
        subjects: &[Arc<R::TestMachine>],
        machine: usize,
        after: Option<&str>,
    ) -> Result<(), EndReason> {
        let subject = &*subjects[machine];
        self.current = machine;
        self.waiting(&format!("{} to be up", self.guest(machine)));
        let up = tokio::select! {
            biased;
            fault = any_fault(subjects) => return Err(fault),
            up = self.wait.with_warning(self.limits.boot, async |limit| subject.up(after, limit).await) => up,
        };
        let up = up.map_err(|fault| EndReason::StartFailure { machine, trouble: fault.into() })?;
        self.events.emit(EventKind::MachineReady {
            scenario: self.job.name.clone(),
            machine: self.name_of(machine),
            boot_id: up.boot_id.clone(),
            state: up.state,
            duration_ms: milliseconds(up.since),
            start: up.started,
        });
        self.boot_ids[machine] = up.boot_id;
        let whom = self.name_of(machine).map(|name| format!(" to the guest `{name}`"));
        self.waiting(&format!("an SSH connection{}", whom.unwrap_or_default()));
        let connected = tokio::select! {
            biased;
            fault = any_fault(subjects) => return Err(fault),
            connected = self.wait.with_warning(self.limits.connect, async |limit| subject.connect(limit).await) => {
                connected
            }
        };
        match connected {
            Ok(()) => Ok(()),
            Err(trouble) => {
                Err(self.aftermath(subjects).await.unwrap_or(EndReason::StartFailure { machine, trouble }))
            }
        }
    }

    async fn step(&mut self, subjects: &[Arc<R::TestMachine>], index: usize) -> Result<(), EndReason> {
        let step = &self.job.steps[index];
        let subject = &*subjects[step.machine];
        self.current = step.machine;
        self.under_way = Some(Instant::now());
        let (finding, attempts) = match &step.action {
            Action::Ask(check) => {
                self.waiting(&format!("step {}, {}", index + 1, step.summary));
                let within = step.within.map(|within| within.mul_f64(self.limits.factor));
                tokio::select! {
                    biased;
                    fault = any_fault(subjects) => return Err(fault),
                    judged = subject.judge(check, within) => judged,
                }
            }
            Action::Waive { reason } => (not_tried(format!("waived: {reason}")), 0),
            Action::Reboot => (self.reboot(subjects, step.machine).await?, 1),
        };
        let outcome = finding.outcome;
        if outcome == Outcome::Broken
            && let Some(halt) = self.aftermath(subjects).await
        {
            // There is one cause, and the step is reported with it.
            self.evidence = finding.commands;
            return Err(halt);
        }
        self.report(step, outcome, Some(finding), attempts);
        match (outcome, &step.action) {
            (Outcome::Broken, _) | (Outcome::Failed, Action::Reboot) => Err(EndReason::Step(index + 1)),
            _ => Ok(()),
        }
    }

    /// Reboots a guest and looks whether it really did.
    async fn reboot(
        &mut self,
        subjects: &[Arc<R::TestMachine>],
        machine: usize,
    ) -> Result<Finding, EndReason> {
        let subject = &*subjects[machine];
        let troubled = |trouble| EndReason::StartFailure { machine, trouble };
        let before = self.boot_ids[machine].clone();
        self.waiting(&format!("{} to take the order to reboot", self.guest(machine)));
        tokio::select! {
            biased;
            fault = any_fault(subjects) => return Err(fault),
            ordered = subject.reboot() => ordered.map_err(troubled)?,
        }
        self.bring_up(subjects, machine, Some(&before)).await?;
        let after = tokio::select! {
            biased;
            fault = any_fault(subjects) => return Err(fault),
            boot_id = subject.boot_id() => boot_id.map_err(troubled)?,
        };
        Ok(judge_reboot(&before, &self.boot_ids[machine], &after).finding(Vec::new()))
    }

    /// The death of a machine, if that is why a guest stopped to answer.
    async fn aftermath(&self, subjects: &[Arc<R::TestMachine>]) -> Option<EndReason> {
        timeout(self.limits.aftermath, any_fault(subjects)).await.ok()
    }

    /// Turns an overrun into a fault, with the end of the console while there is one.
    fn with_console(&self, halt: EndReason) -> EndReason {
        let EndReason::Overran { limit, awaited } = halt else { return halt };
        let machine = self.current;
        let console = self.subjects.get(machine).map(|subject| subject.console_tail()).unwrap_or_default();
        let what = format!("the end of the scenario, which was waiting for {awaited},");
        let fault = Fault::TimedOut { what, seconds: limit.as_secs(), console };
        EndReason::StartFailure { machine, trouble: fault.into() }
    }

    /// What a machine is called, where there are several.
    fn name_of(&self, machine: usize) -> Option<String> {
        self.job.name_of(machine).map(str::to_owned)
    }

    /// A guest within a sentence.
    fn guest(&self, machine: usize) -> String {
        self.name_of(machine).map_or("the guest".to_owned(), |name| format!("the guest `{name}`"))
    }

    fn waiting(&self, what: &str) {
        self.wait.begin(what);
    }

    fn report(
        &mut self,
        step: &JobStep<R::Check>,
        outcome: Outcome,
        finding: Option<Finding>,
        attempts: u32,
    ) {
        let since = self.under_way.take();
        self.reported += 1;
        self.failed |= outcome == Outcome::Failed;
        self.events.emit(EventKind::StepFinished {
            scenario: self.job.name.clone(),
            machine: self.name_of(step.machine),
            step: self.reported,
            summary: step.summary.clone(),
            outcome,
            finding,
            attempts,
            duration_ms: since.map_or(0, |since| milliseconds(since.elapsed())),
        });
    }

    /// Stops the machines, or leaves them running where it is asked for, makes sense, and there is room;
    /// says whether it did.
    async fn leave(&mut self, outcome: Outcome, attempt: u32, course: &RunOptions) -> bool {
        // Nobody else holds them: the course that did has ended or was dropped.
        let subjects = std::mem::take(&mut self.subjects).into_iter().enumerate();
        let subjects = subjects.filter_map(|(machine, subject)| Some((machine, Arc::into_inner(subject)?)));
        let wanted = course.keep.keeps(outcome) && !course.interrupted.is_cancelled();
        let (mut alive, mut over): (Vec<_>, Vec<_>) =
            subjects.partition(|(_, subject)| wanted && subject.fault().now_or_never().is_none());
        // Only who has something to keep takes the room for it.
        let permit = if alive.is_empty() { None } else { course.keepable.try_acquire().ok() };
        if !alive.is_empty() && permit.is_none() {
            let scenario = &self.job.name;
            tracing::warn!(%scenario, "the machine is not kept: there is no memory for one more");
            over.append(&mut alive);
        }
        if !over.is_empty() {
            self.waiting(if over.len() > 1 { "the machines to stop" } else { "the machine to stop" });
            join_all(over.into_iter().map(|(_, subject)| self.stop(subject))).await;
        }
        let mut kept = false;
        for (machine, subject) in alive {
            kept |= self.keep(machine, subject, attempt).await;
        }
        if let (true, Some(permit)) = (kept, permit) {
            permit.forget();
        }
        kept
    }

    async fn keep(&self, machine: usize, subject: R::TestMachine, attempt: u32) -> bool {
        let scenario = self.job.name.clone();
        let machine = self.name_of(machine);
        let mut name = scenario.clone();
        if let Some(machine) = &machine {
            name = format!("{name}.{machine}");
        }
        if attempt > 1 {
            name = format!("{name}.attempt-{attempt}");
        }
        match subject.keep(&name).await {
            Ok(SshAccess { name, ssh }) => {
                self.events.emit(EventKind::MachineKept { scenario, machine, name, ssh });
                true
            }
            Err(trouble) => {
                tracing::error!(%scenario, ?trouble, "the machine cannot be kept; it is stopped");
                false
            }
        }
    }

    async fn stop(&self, subject: R::TestMachine) {
        let stop = AssertUnwindSafe(subject.stop()).catch_unwind();
        match timeout(self.limits.stop, stop).await {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => {
                let message = panic_message(panic.as_ref());
                tracing::error!(scenario = %self.job.name, message, "stopping the machine panicked; it is killed");
            }
            Err(_elapsed) => {
                tracing::error!(scenario = %self.job.name, "the machine did not stop in time; it is killed");
            }
        }
    }

    /// Reports the steps that were not reached, and judges the whole.
    fn close(&mut self, end: Result<(), EndReason>) -> (Outcome, Option<Cause>) {
        let Err(halt) = end else {
            return (if self.failed { Outcome::Failed } else { Outcome::Passed }, None);
        };
        let job = self.job;
        let (outcome, cause) = halt.judge(job);
        if self.under_way.is_some()
            && let Some(step) = job.steps.get(self.reported)
        {
            let finding = Finding {
                outcome,
                expected: "the step comes to its end".to_owned(),
                found: cause.message.clone(),
                hint: None,
                commands: std::mem::take(&mut self.evidence),
            };
            self.report(step, outcome, Some(finding), 1);
        }
        let found = format!("not reached: {}", halt.in_short());
        for step in job.steps.iter().skip(self.reported) {
            let finding = not_tried(found.clone());
            self.report(step, Outcome::Skipped, Some(finding), 0);
        }
        // What failed has failed, whatever came after it.
        (if self.failed { Outcome::Failed } else { outcome }, Some(cause))
    }
}

/// The finding of a step that was not tried.
fn not_tried(found: String) -> Finding {
    let expected = String::new();
    Finding { outcome: Outcome::Skipped, expected, found, hint: None, commands: Vec::new() }
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

/// Whole milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
