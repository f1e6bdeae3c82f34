// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use super::{Counts, FlakyPolicy};

/// The result of a run as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// every scenario that ran passed
    Passed,
    /// a scenario failed
    Failed,
    /// no scenario failed, but one is broken, or a report could not be written
    Broken,
    /// every scenario was skipped, or there was none
    NothingRan,
    /// the user interrupted the run
    Interrupted,
}

impl Verdict {
    /// The verdict of a run.
    ///
    /// An interrupted run and one with incomplete reports cannot be relied on, so they come first. A
    /// failed scenario comes before a broken one, which could not undo the failure. A run that skipped
    /// everything proved nothing, so it did not pass.
    pub fn of(counts: Counts, interrupted: bool, reports_broken: bool, flaky: FlakyPolicy) -> Self {
        let Counts { passed, flaky: flakies, failed, skipped: _, broken } = counts;
        if interrupted {
            Self::Interrupted
        } else if reports_broken {
            Self::Broken
        } else if failed > 0 || (flakies > 0 && flaky == FlakyPolicy::Fail) {
            Self::Failed
        } else if broken > 0 {
            Self::Broken
        } else if passed + flakies > 0 {
            Self::Passed
        } else {
            Self::NothingRan
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::NothingRan => "nothing ran",
            Self::Interrupted => "interrupted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(counts: Counts) -> Verdict {
        Verdict::of(counts, false, false, FlakyPolicy::Pass)
    }

    #[test]
    fn counts_become_a_verdict() {
        let none = Counts::default();
        assert_eq!(verdict(Counts { passed: 2, skipped: 1, ..none }), Verdict::Passed);
        assert_eq!(verdict(Counts { passed: 2, failed: 1, broken: 1, ..none }), Verdict::Failed);
        assert_eq!(verdict(Counts { passed: 2, broken: 1, ..none }), Verdict::Broken);
        assert_eq!(verdict(Counts { skipped: 3, ..none }), Verdict::NothingRan);
        assert_eq!(verdict(none), Verdict::NothingRan);
    }

    #[test]
    fn a_flaky_scenario_passes_or_fails_by_policy() {
        let counts = Counts { flaky: 1, ..Counts::default() };
        assert_eq!(Verdict::of(counts, false, false, FlakyPolicy::Pass), Verdict::Passed);
        assert_eq!(Verdict::of(counts, false, false, FlakyPolicy::Fail), Verdict::Failed);
    }

    #[test]
    fn interruption_and_broken_reports_come_first() {
        let counts = Counts { passed: 1, failed: 1, ..Counts::default() };
        assert_eq!(Verdict::of(counts, true, true, FlakyPolicy::Fail), Verdict::Interrupted);
        assert_eq!(Verdict::of(counts, false, true, FlakyPolicy::Fail), Verdict::Broken);
    }
}
