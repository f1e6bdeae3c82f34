// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Counts;

/// The effect of flaky scenarios on the verdict.
///
/// Retries are for runs that shall survive a transient fault, so that flaky scenarios pass by default, as in
/// other test runners. They are counted separately, and every report marks them. A gate has a policy of its
/// own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FlakyPolicy {
    /// It counts as passed, but every report marks it as flaky
    #[default]
    Pass,
    /// It counts as failed
    Fail,
}

/// What came of a run as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// every scenario that ran holds
    Passed,
    /// a scenario does not hold
    Failed,
    /// no scenario failed, but one could not be tried, or a report could not be written
    Broken,
    /// every scenario was skipped, or there was none
    NothingRan,
    /// the user broke the run off
    Interrupted,
}

impl Verdict {
    /// Judges a run by its scenarios.
    ///
    /// A run that was broken off says nothing about the scenarios that did not get their turn, and
    /// a run whose reports are incomplete cannot be relied on: both come first. A failed scenario
    /// comes before a broken one, since nothing that the broken one could have said would mend the
    /// failure. Where everything was skipped, nothing was shown to hold, and that is no success.
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
