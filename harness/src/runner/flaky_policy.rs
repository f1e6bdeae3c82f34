// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

/// The effect of flaky scenarios on the verdict.
///
/// Retries are there to get past a bad moment, so a flaky scenario lets the run pass by default, as in
/// other test runners. It is counted separately, and every report names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FlakyPolicy {
    /// It counts as passed, but every report marks it as flaky
    #[default]
    Pass,
    /// It counts as failed
    Fail,
}
