// SPDX-License-Identifier: Apache-2.0
use std::process::ExitCode;

use crate::runner::Verdict;

/// The exit status of the command, which has no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Every check passed
    Passed = 0,
    /// A scenario failed
    Failed = 1,
    /// The command line, a scenario file or a recipe is wrong
    Usage = 2,
    /// The host lacks something
    Host = 3,
    /// No scenario was selected, or all were skipped
    Nothing = 4,
    /// The harness or the host broke (`EX_SOFTWARE` of sysexits.h(3head))
    Internal = 70,
    /// The user interrupted the command (128 and the number of SIGINT)
    Interrupted = 130,
}

/// Every exit status, with its meaning in `--help`.
const MEANINGS: [(Exit, &str); 7] = [
    (Exit::Passed, "passed"),
    (Exit::Failed, "a scenario failed"),
    (Exit::Usage, "the command line, a scenario file or a recipe is wrong"),
    (Exit::Host, "the host lacks something: QEMU, an image, KVM where it was required"),
    (Exit::Nothing, "no scenario was selected, or all were skipped"),
    (Exit::Internal, "internal error"),
    (Exit::Interrupted, "interrupted"),
];

/// The part of `--help` about the exit status.
pub(super) fn help() -> String {
    let lines = MEANINGS.map(|(exit, meaning)| format!("  {:<4} {meaning}", exit.status()));
    format!("Exit status:\n{}", lines.join("\n"))
}

impl Exit {
    /// The number that the operating system gets.
    pub(super) fn status(self) -> u8 {
        self as u8
    }

    /// The variant with a number, or `Internal` for an unknown one.
    pub(super) fn of_status(status: i32) -> Self {
        let all = MEANINGS.map(|(exit, _)| exit);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_become_the_documented_statuses() {
        let statuses = [
            (Verdict::Passed, 0),
            (Verdict::Failed, 1),
            (Verdict::NothingRan, 4),
            (Verdict::Broken, 70),
            (Verdict::Interrupted, 130),
        ];
        for (verdict, status) in statuses {
            assert_eq!(Exit::from(verdict).status(), status, "{verdict}");
        }
    }

    #[test]
    fn a_status_of_another_process_is_read_back() {
        for (exit, _) in MEANINGS {
            assert_eq!(Exit::of_status(i32::from(exit.status())), exit);
        }
        assert_eq!(Exit::of_status(101), Exit::Internal, "a panic");
    }
}
