// SPDX-License-Identifier: Apache-2.0
use std::process::ExitCode;

use crate::runner::Verdict;

/// The exit status of the command, in full: no other value leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// everything that was asked for held
    Passed,
    /// a scenario failed
    Failed,
    /// the command line, a scenario file or a recipe is wrong
    Usage,
    /// the host lacks something: QEMU, an image, KVM where it was asked for
    Host,
    /// the patterns select no scenario
    Nothing,
    /// the harness itself is at fault, or the host broke under it
    Internal,
    /// the user broke it off
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn status(self) -> u8 {
        match self {
            Self::Passed => Verdict::Passed.exit_status(),
            Self::Failed => Verdict::Failed.exit_status(),
            Self::Usage => 2,
            Self::Host => 3,
            Self::Nothing => Verdict::NothingRan.exit_status(),
            Self::Internal => Verdict::Broken.exit_status(),
            Self::Interrupted => Verdict::Interrupted.exit_status(),
        }
    }
}

impl Exit {
    /// The one that has a number; whatever has another is a defect.
    pub(super) fn of_status(status: i32) -> Self {
        let all = [
            Self::Passed,
            Self::Failed,
            Self::Usage,
            Self::Host,
            Self::Nothing,
            Self::Internal,
            Self::Interrupted,
        ];
        all.into_iter().find(|exit| i32::from(exit.status()) == status).unwrap_or(Self::Internal)
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Passed,
            Verdict::Failed => Self::Failed,
            Verdict::Broken => Self::Internal,
            Verdict::NothingRan => Self::Nothing,
            Verdict::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}
