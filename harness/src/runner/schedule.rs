// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::attempts::{End, RunOptions, attempts};
use super::budget::Taken;
use super::execute::{milliseconds, panic_message};
use super::{
    Budget, Cause, Counts, EventKind, Events, FORMAT, FlakyPolicy, Job, MachineProvider, Needs, Run,
};
use crate::check::Outcome;

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// scenarios by outcome
    pub counts: Counts,
    /// whether the user broke it off
    pub interrupted: bool,
}

/// Executes every scenario of a run and emits its events, `run-started` first, `run-finished` last.
///
/// Scenarios start in the order that the run names; one that finds no room in the budget lets
/// those behind it that do go first. When `interrupted` is cancelled, those that run are stopped
/// in order, and no other is started.
pub async fn run<R: MachineProvider>(
    run: Run<R::Check>,
    provider: Arc<R>,
    events: Events,
    interrupted: CancellationToken,
) -> Tally {
    let started = Instant::now();
    events.emit(beginning(&run));
    let mut waiting = run.jobs;
    run.order.sort(&mut waiting, |job| job.name.as_str(), |job| job.scenario.as_str());
    let needs: Vec<Needs> = waiting.iter().map(|job| job.needs).collect();
    let course = RunOptions {
        limits: run.limits,
        retries: run.retries,
        keep: run.keep,
        keepable: Semaphore::new(run.budget.keepable(&needs).min(Semaphore::MAX_PERMITS)),
        events,
        interrupted,
    };
    let mut schedule = Schedule {
        provider,
        course: Arc::new(course),
        budget: run.budget,
        taken: Taken::default(),
        counts: Counts::default(),
        running: JoinSet::new(),
        names: HashMap::new(),
    };
    for skipped in run.skipped {
        schedule.skip(skipped.scenario, skipped.reason);
    }
    let mut stopped_by = None;
    loop {
        while stopped_by.is_none() && !schedule.course.interrupted.is_cancelled() {
            let Some(index) = waiting.iter().position(|job| schedule.has_room(job.needs)) else { break };
            schedule.start(waiting.remove(index));
        }
        let Some((name, outcome)) = schedule.next_end().await else { break };
        let passed = match outcome {
            Outcome::Passed | Outcome::Skipped => true,
            Outcome::Flaky => run.flaky == FlakyPolicy::Pass,
            Outcome::Failed | Outcome::Broken => false,
        };
        if run.fail_fast && !passed {
            stopped_by.get_or_insert(name);
        }
    }
    for job in waiting {
        let reason = match &stopped_by {
            Some(name) => format!("not started, since `{name}` did not pass and the run fails fast"),
            None => "not started: the run was interrupted".to_owned(),
        };
        schedule.skip(job.name, reason);
    }
    let tally = Tally { counts: schedule.counts, interrupted: schedule.course.interrupted.is_cancelled() };
    schedule.course.events.emit(EventKind::RunFinished {
        counts: tally.counts,
        interrupted: tally.interrupted,
        duration_ms: milliseconds(started.elapsed()),
    });
    tally
}

fn beginning<C>(run: &Run<C>) -> EventKind {
    let mut scenarios: Vec<String> = run.jobs.iter().map(|job| job.name.clone()).collect();
    scenarios.sort();
    let needs: Vec<Needs> = run.jobs.iter().map(|job| job.needs).collect();
    EventKind::RunStarted {
        format: FORMAT,
        header: run.header.clone(),
        scenarios,
        jobs: run.budget.at_most(&needs),
        seed: run.order.seed,
        flaky: run.flaky,
    }
}

struct Schedule<R: MachineProvider> {
    provider: Arc<R>,
    course: Arc<RunOptions>,
    budget: Budget,
    taken: Taken,
    counts: Counts,
    running: JoinSet<End>,
    names: HashMap<Id, (String, Needs)>,
}

impl<R: MachineProvider> Schedule<R> {
    fn has_room(&self, needs: Needs) -> bool {
        self.budget.has_room(self.taken, needs)
    }

    fn start(&mut self, job: Job<R::Check>) {
        let known = (job.name.clone(), job.needs);
        self.taken.add(job.needs);
        let (provider, course) = (Arc::clone(&self.provider), Arc::clone(&self.course));
        let task = self.running.spawn(async move { attempts(&*provider, &job, &course).await });
        self.names.insert(task.id(), known);
    }

    fn skip(&mut self, scenario: String, reason: String) {
        self.counts.add(Outcome::Skipped);
        self.course.events.emit(EventKind::ScenarioSkipped { scenario, reason });
    }

    /// Waits for the next scenario to end; nothing when none runs.
    async fn next_end(&mut self) -> Option<(String, Outcome)> {
        let (id, end) = match self.running.join_next_with_id().await? {
            Ok((id, end)) => (id, end),
            Err(error) => (error.id(), self.lost(error)),
        };
        let (name, needs) = self.names.remove(&id).unwrap_or_default();
        self.taken.give_back(needs, end.kept);
        self.counts.add(end.outcome);
        Some((name, end.outcome))
    }

    /// A task that panicked outside of the scenario's own course still gets its last event.
    fn lost(&self, error: JoinError) -> End {
        let scenario = self.names.get(&error.id()).map(|(name, _)| name.clone()).unwrap_or_default();
        let message = match error.try_into_panic() {
            Ok(panic) => format!("the harness panicked: {}", panic_message(panic.as_ref())),
            Err(error) => format!("the scenario's task was lost: {error}"),
        };
        let cause = Some(Cause { message, hint: None, fault: None, machine: None });
        let outcome = Outcome::Broken;
        self.course.events.emit(EventKind::ScenarioFinished { scenario, outcome, cause, duration_ms: 0 });
        End { outcome, kept: 0 }
    }
}
