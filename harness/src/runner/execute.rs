// SPDX-License-Identifier: Apache-2.0
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::attempts::Course;
use super::wait::Wait;
use super::{
    Action, Cause, Entrance, EventKind, Events, Job, JobStep, Limits, Rig, Subject, Trouble, hint_for,
    outcome_of,
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
pub(super) async fn execute<R: Rig>(rig: &R, job: &Job<R::Check>, attempt: u32, course: &Course) -> Ended {
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
    });
    let wait = Wait::new(&job.name, &course.events);
    let mut execution = Execution {
        rig,
        job,
        limits: course.limits,
        events: &course.events,
        wait: wait.clone(),
        directory,
        subject: None,
        boot_id: String::new(),
        reported: 0,
        under_way: None,
        evidence: Vec::new(),
        failed: false,
    };
    let limit = job.timeout.mul_f64(course.limits.factor);
    let steps = AssertUnwindSafe(execution.steps()).catch_unwind();
    let end = tokio::select! {
        biased;
        () = course.interrupted.cancelled() => Err(Halt::Interrupted),
        end = steps => end.unwrap_or_else(|panic| Err(Halt::Panicked(panic_message(panic.as_ref())))),
        () = wait.overrun(limit) => Err(Halt::Overran { limit: limit * Limits::GIVE_UP, awaited: wait.what() }),
    };
    let end = end.map_err(|halt| execution.with_console(halt));
    let (outcome, cause) = execution.close(end);
    let kept = execution.leave(outcome, attempt, course).await;
    Ended { outcome, cause, kept }
}

/// What ends a scenario before its last step.
enum Halt {
    /// the machine died, or the host is in the way
    Trouble(Trouble),
    /// a step whose failure leaves nothing to go on from; it was reported
    Step(usize),
    /// the scenario took longer than its author allows
    Overran { limit: Duration, awaited: String },
    /// the user broke the run off
    Interrupted,
    /// a defect of the harness
    Panicked(String),
}

impl<T: Into<Trouble>> From<T> for Halt {
    fn from(trouble: T) -> Self {
        Self::Trouble(trouble.into())
    }
}

struct Execution<'a, R: Rig> {
    rig: &'a R,
    job: &'a Job<R::Check>,
    limits: Limits,
    events: &'a Events,
    wait: Wait,
    directory: Utf8PathBuf,
    subject: Option<Arc<R::Subject>>,
    /// of the current boot
    boot_id: String,
    /// how many steps have been reported
    reported: usize,
    /// since when the step behind them is under way
    under_way: Option<Instant>,
    /// what was run for it until the machine died
    evidence: Vec<Transcript>,
    /// whether a step failed
    failed: bool,
}

impl<R: Rig> Execution<'_, R> {
    async fn steps(&mut self) -> Result<(), Halt> {
        self.waiting("the machine to start");
        let subject = Arc::new(self.rig.start(&self.job.scenario, &self.directory).await?);
        self.subject = Some(Arc::clone(&subject));
        self.bring_up(&subject, None).await?;
        for index in 0..self.job.steps.len() {
            self.step(&subject, index).await?;
        }
        // A machine that died over the last step has not got through the scenario.
        subject.fault().now_or_never().map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// Waits until the guest is up and connects to it.
    async fn bring_up(&mut self, subject: &R::Subject, after: Option<&str>) -> Result<(), Halt> {
        self.waiting("the guest to be up");
        let up = tokio::select! {
            biased;
            fault = subject.fault() => return Err(fault.into()),
            up = self.wait.with_warning(self.limits.boot, async |limit| subject.up(after, limit).await) => up?,
        };
        self.events.emit(EventKind::MachineReady {
            scenario: self.job.name.clone(),
            boot_id: up.boot_id.clone(),
            state: up.state,
            duration_ms: milliseconds(up.since),
            start: up.started,
        });
        self.boot_id = up.boot_id;
        self.waiting("an SSH connection");
        let connected = tokio::select! {
            biased;
            fault = subject.fault() => return Err(fault.into()),
            connected = self.wait.with_warning(self.limits.connect, async |limit| subject.connect(limit).await) => {
                connected
            }
        };
        match connected {
            Ok(()) => Ok(()),
            Err(trouble) => Err(self.aftermath(subject).await.unwrap_or_else(|| trouble.into())),
        }
    }

    async fn step(&mut self, subject: &R::Subject, index: usize) -> Result<(), Halt> {
        let step = &self.job.steps[index];
        self.under_way = Some(Instant::now());
        let (finding, attempts) = match &step.action {
            Action::Ask(check) => {
                self.waiting(&format!("step {}, {}", index + 1, step.summary));
                let within = step.within.map(|within| within.mul_f64(self.limits.factor));
                tokio::select! {
                    biased;
                    fault = subject.fault() => return Err(fault.into()),
                    judged = subject.judge(check, within) => judged,
                }
            }
            Action::Waive { reason } => (not_tried(format!("waived: {reason}")), 0),
            Action::Reboot => (self.reboot(subject).await?, 1),
        };
        let outcome = finding.outcome;
        if outcome == Outcome::Broken
            && let Some(halt) = self.aftermath(subject).await
        {
            // There is one cause, and the step is reported with it.
            self.evidence = finding.commands;
            return Err(halt);
        }
        self.report(step, outcome, Some(finding), attempts);
        match (outcome, &step.action) {
            (Outcome::Broken, _) | (Outcome::Failed, Action::Reboot) => Err(Halt::Step(index + 1)),
            _ => Ok(()),
        }
    }

    /// Reboots the guest and looks whether it really did.
    async fn reboot(&mut self, subject: &R::Subject) -> Result<Finding, Halt> {
        let before = self.boot_id.clone();
        self.waiting("the guest to take the order to reboot");
        tokio::select! {
            biased;
            fault = subject.fault() => return Err(fault.into()),
            ordered = subject.reboot() => ordered?,
        }
        self.bring_up(subject, Some(&before)).await?;
        let after = tokio::select! {
            biased;
            fault = subject.fault() => return Err(fault.into()),
            boot_id = subject.boot_id() => boot_id?,
        };
        Ok(judge_reboot(&before, &self.boot_id, &after).finding(Vec::new()))
    }

    /// The machine's death, if that is why the guest stopped to answer.
    async fn aftermath(&self, subject: &R::Subject) -> Option<Halt> {
        timeout(self.limits.aftermath, subject.fault()).await.ok().map(Halt::from)
    }

    /// Turns an overrun into a fault, with the end of the console while there is one.
    fn with_console(&self, halt: Halt) -> Halt {
        let Halt::Overran { limit, awaited } = halt else { return halt };
        let console = self.subject.as_ref().map(|subject| subject.console_tail()).unwrap_or_default();
        let what = format!("the end of the scenario, which was waiting for {awaited},");
        Fault::TimedOut { what, seconds: limit.as_secs(), console }.into()
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
            step: self.reported,
            summary: step.summary.clone(),
            outcome,
            finding,
            attempts,
            duration_ms: since.map_or(0, |since| milliseconds(since.elapsed())),
        });
    }

    /// Stops the machine, or leaves it running where it is asked for, makes sense, and there is room;
    /// says whether it did.
    async fn leave(&mut self, outcome: Outcome, attempt: u32, course: &Course) -> bool {
        // Nobody else holds it: the course that did has ended or was dropped.
        let Some(subject) = self.subject.take().and_then(Arc::into_inner) else { return false };
        let alive = subject.fault().now_or_never().is_none() && !course.interrupted.is_cancelled();
        if !(alive && course.keep.keeps(outcome)) {
            self.stop(subject).await;
            return false;
        }
        let Ok(permit) = course.keepable.try_acquire() else {
            tracing::warn!(scenario = %self.job.name, "the machine is not kept: there is no memory for one more");
            self.stop(subject).await;
            return false;
        };
        let name =
            if attempt == 1 { self.job.name.clone() } else { format!("{}.attempt-{attempt}", self.job.name) };
        match subject.keep(&name).await {
            Ok(Entrance { name, ssh }) => {
                permit.forget();
                self.events.emit(EventKind::MachineKept { scenario: self.job.name.clone(), name, ssh });
                true
            }
            Err(trouble) => {
                tracing::error!(scenario = %self.job.name, ?trouble, "the machine cannot be kept; it is stopped");
                false
            }
        }
    }

    async fn stop(&self, subject: R::Subject) {
        self.waiting("the machine to stop");
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
    fn close(&mut self, end: Result<(), Halt>) -> (Outcome, Option<Cause>) {
        let Err(halt) = end else {
            return (if self.failed { Outcome::Failed } else { Outcome::Passed }, None);
        };
        let job = self.job;
        let (outcome, cause) = halt.judge();
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

impl Halt {
    /// The outcome of a scenario that ends so, and what is said about it.
    fn judge(&self) -> (Outcome, Cause) {
        let plain = |message: String| Cause { message, hint: None, fault: None };
        match self {
            Self::Trouble(Trouble::Fault(fault)) => {
                let (message, hint) = (fault.to_string(), hint_for(fault));
                (outcome_of(fault), Cause { message, hint, fault: Some(fault.clone()) })
            }
            Self::Trouble(Trouble::Other { message, hint }) => {
                (Outcome::Broken, Cause { message: message.clone(), hint: hint.clone(), fault: None })
            }
            Self::Step(number) => (Outcome::Broken, plain(format!("nothing can follow step {number}"))),
            Self::Overran { limit, awaited } => {
                let message =
                    format!("the scenario did not end within {} s, waiting for {awaited}", limit.as_secs());
                (Outcome::Failed, plain(message))
            }
            Self::Interrupted => (Outcome::Skipped, plain("interrupted".to_owned())),
            Self::Panicked(message) => {
                let hint = "this is a defect of loadgauge: please report it with events.jsonl";
                let message = format!("the harness panicked: {message}");
                (Outcome::Broken, Cause { message, hint: Some(hint.to_owned()), fault: None })
            }
        }
    }

    /// Why the steps behind were not reached.
    fn in_short(&self) -> String {
        match self {
            Self::Trouble(Trouble::Fault(Fault::TimedOut { what, .. })) => {
                format!("{what} did not come in time")
            }
            Self::Trouble(Trouble::Fault(_)) => "the machine died".to_owned(),
            Self::Trouble(Trouble::Other { .. }) => "the scenario could not go on".to_owned(),
            Self::Step(number) => format!("nothing can follow step {number}"),
            Self::Overran { .. } => "the scenario took too long".to_owned(),
            Self::Interrupted => "interrupted".to_owned(),
            Self::Panicked(_) => "the harness panicked".to_owned(),
        }
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
