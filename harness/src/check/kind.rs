// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, Instant};

use loadgauge_images::Facts;

use crate::guest::Guest;

use super::inquiry::Inquiry;
use super::{
    ContainerdCheck, DockerCheck, FileCheck, Finding, MergedCheck, Outcome, OverlayCheck, RunCheck, UnitCheck,
};

/// Pauses between the tries of [`judge_within`] grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// One assertion about a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// which extensions are merged
    Merged(MergedCheck),
    /// the overlay that a merge mounts
    Overlay(OverlayCheck),
    /// the states of units
    Unit(UnitCheck),
    /// a file, directory or link
    File(FileCheck),
    /// a command
    Run(RunCheck),
    /// Docker's engine
    Docker(DockerCheck),
    /// containerd
    Containerd(ContainerdCheck),
}

impl Check {
    /// What it claims, in one line, for where the author gave no summary.
    pub fn summary(&self) -> String {
        match self {
            Self::Merged(check) => check.summary(),
            Self::Overlay(check) => check.summary(),
            Self::Unit(check) => check.summary(),
            Self::File(check) => check.summary(),
            Self::Run(check) => check.summary(),
            Self::Docker(check) => check.summary(),
            Self::Containerd(check) => check.summary(),
        }
    }

    /// Asks the guest and judges what it says. A guest that cannot be asked makes the finding
    /// broken, not failed.
    pub async fn judge(&self, guest: &Guest, facts: &Facts) -> Finding {
        let mut inquiry = Inquiry::new(guest);
        let result = match self {
            Self::Merged(check) => check.examine(&mut inquiry).await,
            Self::Overlay(check) => check.examine(&mut inquiry).await,
            Self::Unit(check) => check.examine(&mut inquiry).await,
            Self::File(check) => check.examine(&mut inquiry).await,
            Self::Run(check) => check.examine(&mut inquiry).await,
            Self::Docker(check) => check.examine(&mut inquiry, facts.architecture).await,
            Self::Containerd(check) => check.examine(&mut inquiry, facts.architecture).await,
        };
        inquiry.conclude(&self.summary(), result)
    }
}

/// Judges a check until it holds, for `within` at most; once, where nothing is given.
///
/// The first try is made at once. Returns the last finding and how often it was tried; `on_attempt`
/// is called after each try with its number and finding. A try that is under way when the time runs
/// out is finished, so that what is reported is what was really found. A broken finding ends it: a
/// guest that cannot be asked does not mend by being asked again.
pub async fn judge_within(
    check: &Check,
    guest: &Guest,
    facts: &Facts,
    within: Option<Duration>,
    mut on_attempt: impl FnMut(u32, &Finding),
) -> (Finding, u32) {
    let deadline = Instant::now() + within.unwrap_or_default();
    let mut pause = PAUSES.0;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut finding = check.judge(guest, facts).await;
        on_attempt(attempts, &finding);
        let left = deadline.saturating_duration_since(Instant::now());
        if finding.outcome != Outcome::Failed || left.is_zero() {
            if let (Outcome::Failed, Some(within)) = (finding.outcome, within) {
                finding.found = format!("{}\n(tried {attempts} times within {within:?})", finding.found);
            }
            return (finding, attempts);
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}
