// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

/// Why a machine cannot go on. Found on the console, through QMP or from the process itself, and
/// final: nothing that is asked of the guest afterwards will be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// the kernel panicked
    #[error("the guest's kernel panicked: {line}")]
    Panic {
        /// the line of the console that says so
        line: String,
        /// the console around it
        console: Vec<String>,
    },
    /// a unit of the initrd failed, Ignition's among them, or its emergency shell was started
    #[error("the guest's initrd failed: {line}")]
    Initrd {
        /// the line that names the cause
        line: String,
        /// the console around it
        console: Vec<String>,
    },
    /// the booted system fell into its emergency shell
    #[error("the guest entered emergency mode: {line}")]
    Emergency {
        /// the line that names the cause
        line: String,
        /// the console around it
        console: Vec<String>,
    },
    /// QEMU stopped the guest, or reports an error of its own
    #[error("QEMU stopped the guest: {reason}")]
    Stopped {
        /// QMP's word for it, such as `internal-error`
        reason: String,
    },
    /// the guest powered itself off
    #[error("the guest powered off")]
    PoweredOff,
    /// the QEMU process ended
    #[error("QEMU ended with {status}: {words}")]
    Exited {
        /// exit status or signal
        status: String,
        /// the end of what it printed
        words: String,
    },
    /// what was waited for did not come
    #[error("{what} did not come within {seconds} s")]
    TimedOut {
        /// what was waited for
        what: String,
        /// for how long
        seconds: u64,
        /// the end of the console
        console: Vec<String>,
    },
}

impl Fault {
    /// The lines of the console that show the cause.
    pub fn console(&self) -> &[String] {
        match self {
            Self::Panic { console, .. }
            | Self::Initrd { console, .. }
            | Self::Emergency { console, .. }
            | Self::TimedOut { console, .. } => console,
            Self::Stopped { .. } | Self::PoweredOff | Self::Exited { .. } => &[],
        }
    }
}
