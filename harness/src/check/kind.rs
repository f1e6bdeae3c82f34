// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, Instant};

use loadgauge_images::Facts;

use crate::guest::Guest;

use super::recorder::Recorder;
use super::{
    ContainerdCheck, DockerCheck, FileCheck, Finding, MergedCheck, Outcome, OverlayCheck, RunCheck, UnitCheck,
};

/// The first and the longest pause between the tries of [`check_within`].
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// A check of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// the merged extensions
    Merged(MergedCheck),
    /// the overlay that a merge mounts
    Overlay(OverlayCheck),
    /// the states of units
    Unit(UnitCheck),
    /// a file, directory or symbolic link
    File(FileCheck),
    /// a command
    Run(RunCheck),
    /// Docker's engine
    Docker(DockerCheck),
    /// containerd
    Containerd(ContainerdCheck),
}

impl Check {
    /// A description in one line, for steps without one of the author's.
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

    /// Checks a guest. If the guest cannot run commands, the finding is broken and not failed.
    pub async fn run(&self, guest: &Guest, facts: &Facts) -> Finding {
        let mut recorder = Recorder::new(guest);
        let result = match self {
            Self::Merged(check) => check.execute(&mut recorder).await,
            Self::Overlay(check) => check.execute(&mut recorder).await,
            Self::Unit(check) => check.execute(&mut recorder).await,
            Self::File(check) => check.execute(&mut recorder).await,
            Self::Run(check) => check.execute(&mut recorder).await,
            Self::Docker(check) => check.execute(&mut recorder, facts.architecture).await,
            Self::Containerd(check) => check.execute(&mut recorder, facts.architecture).await,
        };
        recorder.into_finding(&self.summary(), result)
    }
}

/// Repeats a check until it passes, for `within` at most; without `within` it is made once.
///
/// Returns the last finding and the number of tries; `on_attempt` is called after each try with its
/// number and finding. The last try is finished even if it exceeds `within`. A broken finding ends the
/// repetition, since it says nothing about the guest.
pub async fn check_within(
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
        let mut finding = check.run(guest, facts).await;
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
