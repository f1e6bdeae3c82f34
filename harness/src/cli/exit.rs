// SPDX-License-Identifier: Apache-2.0
use std::process::ExitCode;

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
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Host => 3,
            Self::Nothing => 4,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}
