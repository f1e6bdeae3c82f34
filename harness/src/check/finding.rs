// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::guest::Transcript;

/// What came of a check or a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// it holds
    Passed,
    /// it failed and then passed on a fresh machine
    Flaky,
    /// it does not hold
    Failed,
    /// it was not tried
    Skipped,
    /// the harness or the host could not try it
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

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// passed, failed or broken
    pub outcome: Outcome,
    /// what should have been, one claim a line; of a check that passed, what was
    pub expected: String,
    /// what was found instead; empty of a check that passed
    pub found: String,
    /// what to do about it, where something can be said
    pub hint: Option<String>,
    /// the commands that were run on the guest to find out, the telling one last
    pub commands: Vec<Transcript>,
}
