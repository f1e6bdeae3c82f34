// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::attempts::{ScenarioResult, execute_with_retries};
use super::budget::InUse;
use super::event::milliseconds;
use super::options::RunOptions;
use super::panic::panic_message;
use super::{
    Budget, Cause, Counts, EventKind, Events, FORMAT, FlakyPolicy, Job, MachineProvider, Needs, Run,
    ScenarioId,
};
use crate::check::Outcome;

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunResult {
    /// scenarios by outcome
    pub counts: Counts,
    /// whether the user interrupted it
    pub interrupted: bool,
}

/// Executes every scenario of a run and emits its events, `run-started` first and `run-finished` last.
///
/// Scenarios start in the order of the run; one that does not fit into the budget lets later ones
/// that do go first. When `interrupted` is cancelled, the running scenarios are stopped in an orderly
/// way, and no other starts.
pub async fn run<R: MachineProvider>(
    run: Run<R::Operation>,
    provider: Arc<R>,
    events: Events,
    interrupted: CancellationToken,
) -> RunResult {
    let started = Instant::now();
    events.emit(run_started(&run));
    let mut waiting = run.jobs;
    run.order.sort(&mut waiting, |job| &job.id);
    let needs: Vec<Needs> = waiting.iter().map(|job| job.needs).collect();
    let options = RunOptions {
        limits: run.limits,
        retries: run.retries,
        keep: run.keep,
        keepable: Semaphore::new(run.budget.keepable(&needs).min(Semaphore::MAX_PERMITS)),
        events,
        interrupted,
    };
    let mut schedule = Schedule {
        provider,
        options: Arc::new(options),
        budget: run.budget,
        in_use: InUse::default(),
        counts: Counts::default(),
        running: JoinSet::new(),
        started: HashMap::new(),
    };
    for skipped in run.skipped {
        schedule.skip(skipped.scenario, skipped.reason);
    }
    let mut stopped_by = None;
    loop {
        while stopped_by.is_none() && !schedule.options.interrupted.is_cancelled() {
            let Some(index) = waiting.iter().position(|job| schedule.has_room(job.needs)) else { break };
            schedule.start(waiting.remove(index));
        }
        let Some((id, outcome)) = schedule.next_result().await else { break };
        let passed = match outcome {
            Outcome::Passed | Outcome::Skipped => true,
            Outcome::Flaky => run.flaky == FlakyPolicy::Pass,
            Outcome::Failed | Outcome::Broken => false,
        };
        if run.fail_fast && !passed {
            stopped_by.get_or_insert(id);
        }
    }
    for job in waiting {
        let reason = match &stopped_by {
            Some(id) => format!("not started: `{id}` did not pass, and --fail-fast is set"),
            None => "not started: the run was interrupted".to_owned(),
        };
        schedule.skip(job.id, reason);
    }
    let result =
        RunResult { counts: schedule.counts, interrupted: schedule.options.interrupted.is_cancelled() };
    schedule.options.events.emit(EventKind::RunFinished {
        counts: result.counts,
        interrupted: result.interrupted,
        duration_ms: milliseconds(started.elapsed()),
    });
    result
}

fn run_started<C>(run: &Run<C>) -> EventKind {
    let mut scenarios: Vec<ScenarioId> = run.jobs.iter().map(|job| job.id.clone()).collect();
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
    options: Arc<RunOptions>,
    budget: Budget,
    in_use: InUse,
    counts: Counts,
    running: JoinSet<ScenarioResult>,
    started: HashMap<Id, (ScenarioId, Needs)>,
}

impl<R: MachineProvider> Schedule<R> {
    fn has_room(&self, needs: Needs) -> bool {
        self.budget.has_room(self.in_use, needs)
    }

    fn start(&mut self, job: Job<R::Operation>) {
        let started = (job.id.clone(), job.needs);
        self.in_use.add(job.needs);
        let (provider, options) = (Arc::clone(&self.provider), Arc::clone(&self.options));
        let task = self.running.spawn(async move { execute_with_retries(&*provider, &job, &options).await });
        self.started.insert(task.id(), started);
    }

    fn skip(&mut self, scenario: ScenarioId, reason: String) {
        self.counts.add(Outcome::Skipped);
        self.options.events.emit(EventKind::ScenarioSkipped { scenario, reason });
    }

    /// Waits until a scenario ends. Returns `None` when none runs.
    async fn next_result(&mut self) -> Option<(ScenarioId, Outcome)> {
        let (task, result) = match self.running.join_next_with_id().await? {
            Ok((task, result)) => (task, result),
            Err(error) => (error.id(), self.lost(error)),
        };
        let (id, needs) = self.started.remove(&task).unwrap_or_default();
        self.in_use.release(needs, result.kept);
        self.counts.add(result.outcome);
        Some((id, result.outcome))
    }

    /// Emits the last event of a scenario whose task panicked outside of its steps.
    fn lost(&self, error: JoinError) -> ScenarioResult {
        let scenario = self.started.get(&error.id()).map(|(id, _)| id.clone()).unwrap_or_default();
        let message = match error.try_into_panic() {
            Ok(panic) => format!("the harness panicked: {}", panic_message(panic.as_ref())),
            Err(error) => format!("the scenario's task was lost: {error}"),
        };
        let cause = Some(Cause { message, hint: None, fault: None, machine: None });
        let outcome = Outcome::Broken;
        self.options.events.emit(EventKind::ScenarioFinished { scenario, outcome, cause, duration_ms: 0 });
        ScenarioResult { outcome, kept: 0 }
    }
}
