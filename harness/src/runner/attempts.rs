// SPDX-License-Identifier: Apache-2.0
use std::time::Instant;

use super::event::milliseconds;
use super::execute::execute;
use super::options::RunOptions;
use super::{EventKind, Job, MachineProvider};
use crate::check::Outcome;

/// The result of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScenarioResult {
    pub(super) outcome: Outcome,
    /// how many of its machines were left running
    pub(super) kept: usize,
}

/// Executes a scenario, retries it on new machines if it does not pass, and emits its last event.
pub(super) async fn execute_with_retries<R: MachineProvider>(
    provider: &R,
    job: &Job<R::Operation>,
    options: &RunOptions,
) -> ScenarioResult {
    let started = Instant::now();
    let mut outcomes = Vec::new();
    let mut kept = 0;
    for attempt in 1.. {
        let since = Instant::now();
        let result = execute(provider, job, attempt, options).await;
        outcomes.push(result.outcome);
        kept += usize::from(result.kept);
        let scenario = job.id.clone();
        let (outcome, cause) = (result.outcome, result.cause);
        let again = matches!(outcome, Outcome::Failed | Outcome::Broken)
            && attempt <= options.retries
            && !options.interrupted.is_cancelled();
        if !again {
            let (outcome, duration_ms) = (combined(&outcomes), milliseconds(started.elapsed()));
            options.events.emit(EventKind::ScenarioFinished { scenario, outcome, cause, duration_ms });
            break;
        }
        let duration_ms = milliseconds(since.elapsed());
        options.events.emit(EventKind::AttemptFinished { scenario, attempt, outcome, cause, duration_ms });
    }
    ScenarioResult { outcome: combined(&outcomes), kept }
}

/// The outcome of a scenario, given those of its attempts. A scenario that did not pass at once is
/// flaky at best, and a failed attempt stays a failure, even if the next one is broken or interrupted.
fn combined(attempts: &[Outcome]) -> Outcome {
    let any = |outcome| attempts.contains(&outcome);
    match attempts {
        [only] => *only,
        [.., Outcome::Passed] => Outcome::Flaky,
        _ if any(Outcome::Failed) => Outcome::Failed,
        _ if any(Outcome::Broken) => Outcome::Broken,
        _ => Outcome::Skipped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome::{Broken, Failed, Flaky, Passed, Skipped};

    #[test]
    fn attempts_have_a_combined_outcome() {
        assert_eq!(combined(&[Passed]), Passed);
        assert_eq!(combined(&[Skipped]), Skipped);
        assert_eq!(combined(&[Failed, Passed]), Flaky);
        assert_eq!(combined(&[Broken, Passed]), Flaky);
        assert_eq!(combined(&[Failed, Broken]), Failed);
        assert_eq!(combined(&[Broken, Broken]), Broken);
        assert_eq!(combined(&[Broken, Skipped]), Broken, "interrupted");
        assert_eq!(combined(&[Failed, Skipped]), Failed, "interrupted");
    }
}
