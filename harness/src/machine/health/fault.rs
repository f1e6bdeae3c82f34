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
    /// the host could not read or write a disk of the guest, and QEMU stopped it
    #[error("the host could not {operation} the guest's `{device}`: {reason}")]
    Disk {
        /// which: `disk`, or `disk0` for the first of those that the scenario asked for
        device: String,
        /// `read` or `write`
        operation: String,
        /// the host's reason
        reason: String,
    },
    /// the QEMU process lives and does not answer
    #[error("QEMU has not answered its monitor for {seconds} s; its process {state}")]
    Hung {
        /// for how long
        seconds: u64,
        /// what the process does, as a predicate
        state: String,
    },
    /// no processor of the guest can ever run again
    #[error("every processor of the guest is halted and takes no interrupts")]
    Halted {
        /// the end of the console
        console: Vec<String>,
    },
    /// something happened to the host's time
    #[error("{what} while the machine ran")]
    Clock {
        /// what
        what: String,
    },
    /// the process of the machine's TPM ended
    #[error("the machine's TPM ended with {status}: {words}")]
    Tpm {
        /// exit status or signal
        status: String,
        /// the end of what it printed
        words: String,
    },
    /// the guest runs and no longer speaks SSH, or never did
    #[error("the guest's SSH failed: {what}")]
    Ssh {
        /// how that showed
        what: String,
        /// the end of the console
        console: Vec<String>,
    },
    /// the image has nothing that its firmware or boot loader could start
    #[error("the guest found nothing to boot: {line}")]
    Boot {
        /// the line that says so
        line: String,
        /// the console around it
        console: Vec<String>,
    },
    /// nothing at all came from the guest
    #[error("the guest said nothing on its console within {seconds} s of its start")]
    Silent {
        /// for how long
        seconds: u64,
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
            | Self::Boot { console, .. }
            | Self::Halted { console }
            | Self::Ssh { console, .. }
            | Self::TimedOut { console, .. } => console,
            Self::Stopped { .. }
            | Self::PoweredOff
            | Self::Exited { .. }
            | Self::Disk { .. }
            | Self::Hung { .. }
            | Self::Clock { .. }
            | Self::Tpm { .. }
            | Self::Silent { .. } => &[],
        }
    }
}
