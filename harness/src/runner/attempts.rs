// SPDX-License-Identifier: Apache-2.0
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::execute::{execute, milliseconds};
use super::{EventKind, Events, Job, KeepPolicy, Limits, MachineProvider};
use crate::check::Outcome;

/// What is the same for all scenarios of a run.
#[derive(Debug)]
pub(super) struct RunOptions {
    pub(super) limits: Limits,
    pub(super) retries: u32,
    pub(super) keep: KeepPolicy,
    /// how many machines can still be left running
    pub(super) keepable: Semaphore,
    pub(super) events: Events,
    pub(super) interrupted: CancellationToken,
}

/// How a scenario ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    /// how many of its machines were left running
    pub(super) kept: usize,
}

/// Executes a scenario, again on a fresh machine where it does not pass and may be retried, and
/// emits its last event.
pub(super) async fn attempts<R: MachineProvider>(
    provider: &R,
    job: &Job<R::Check>,
    course: &RunOptions,
) -> End {
    let started = Instant::now();
    let mut outcomes = Vec::new();
    let mut kept = 0;
    for attempt in 1.. {
        let since = Instant::now();
        let ended = execute(provider, job, attempt, course).await;
        outcomes.push(ended.outcome);
        kept += usize::from(ended.kept);
        let scenario = job.name.clone();
        let (outcome, cause) = (ended.outcome, ended.cause);
        let again = matches!(outcome, Outcome::Failed | Outcome::Broken)
            && attempt <= course.retries
            && !course.interrupted.is_cancelled();
        if !again {
            let (outcome, duration_ms) = (of_all(&outcomes), milliseconds(started.elapsed()));
            course.events.emit(EventKind::ScenarioFinished { scenario, outcome, cause, duration_ms });
            break;
        }
        let duration_ms = milliseconds(since.elapsed());
        course.events.emit(EventKind::AttemptFinished { scenario, attempt, outcome, cause, duration_ms });
    }
    End { outcome: of_all(&outcomes), kept }
}

/// The outcome of a scenario by those of its attempts. What did not pass at first is flaky at best,
/// whatever it was; and what failed has failed, though the next attempt be broken or interrupted.
fn of_all(attempts: &[Outcome]) -> Outcome {
    let worst = |outcome| attempts.contains(&outcome);
    match attempts {
        [only] => *only,
        [.., Outcome::Passed] => Outcome::Flaky,
        _ if worst(Outcome::Failed) => Outcome::Failed,
        _ if worst(Outcome::Broken) => Outcome::Broken,
        _ => Outcome::Skipped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome::{Broken, Failed, Flaky, Passed, Skipped};

    #[test]
    fn attempts_make_an_outcome() {
        assert_eq!(of_all(&[Passed]), Passed);
        assert_eq!(of_all(&[Skipped]), Skipped);
        assert_eq!(of_all(&[Failed, Passed]), Flaky);
        assert_eq!(of_all(&[Broken, Passed]), Flaky);
        assert_eq!(of_all(&[Failed, Broken]), Failed);
        assert_eq!(of_all(&[Broken, Broken]), Broken);
        assert_eq!(of_all(&[Broken, Skipped]), Broken, "interrupted");
        assert_eq!(of_all(&[Failed, Skipped]), Failed, "interrupted");
    }
}
