// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::guest::Transcript;

/// The outcome of a check or a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// every claim holds
    Passed,
    /// failed, then passed on a new machine
    Flaky,
    /// a claim does not hold
    Failed,
    /// not run
    Skipped,
    /// could not be judged, because of the host or the harness
    Broken,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Passed => "passed",
            Self::Flaky => "flaky",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Broken => "broken",
        })
    }
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// passed, failed or broken
    pub outcome: Outcome,
    /// the claims that do not hold, a line each; all claims if the check passed
    pub expected: String,
    /// what was found instead; empty if the check passed
    pub found: String,
    /// what the user can do
    pub hint: Option<String>,
    /// the commands that the check ran in the guest, the decisive one last
    pub commands: Vec<Transcript>,
}
