// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

use super::host_load::HostShare;
use crate::machine::qemu::process::ProcessState;

/// Why a machine cannot continue. Found on the console, over QMP or from the process itself, and final: the
/// guest answers nothing afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// the kernel panicked
    #[error("the guest's kernel panicked: {line}")]
    Panic {
        /// the line of the console with the panic
        line: String,
        /// the lines around it
        console: Vec<String>,
    },
    /// a unit of the initrd failed, such as Ignition, or its emergency shell was started
    #[error("the guest's initrd failed: {line}")]
    Initrd {
        /// the line that names the cause
        line: String,
        /// the lines around it
        console: Vec<String>,
    },
    /// the booted system entered emergency mode
    #[error("the guest entered emergency mode: {line}")]
    Emergency {
        /// the line that names the cause
        line: String,
        /// the lines around it
        console: Vec<String>,
    },
    /// QEMU stopped the guest, or reports an internal error
    #[error("QEMU stopped the guest: {reason}")]
    Stopped {
        /// the run state in QMP, such as `internal-error`
        reason: String,
    },
    /// the guest powered itself off
    #[error("the guest powered off")]
    PoweredOff,
    /// QEMU exited
    #[error("QEMU exited with {status}: {log}")]
    Exited {
        /// exit status or signal
        status: String,
        /// the end of its log
        #[serde(alias = "words")]
        log: String,
    },
    /// the host could not read or write a disk of the guest, and QEMU stopped it
    #[error("the host could not {operation} the guest's `{device}`: {reason}")]
    Disk {
        /// `disk`, or `disk0` for the first additional one
        device: String,
        /// `read` or `write`
        operation: String,
        /// the host's error
        reason: String,
    },
    /// QEMU runs and does not answer over QMP
    #[error("QEMU has not answered over QMP for {seconds} s; its process {state}")]
    Hung {
        /// the time without an answer
        seconds: u64,
        /// the state of the process
        state: ProcessState,
    },
    /// no processor of the guest can run again
    #[error("every processor of the guest is halted with interrupts off")]
    Halted {
        /// the end of the console
        console: Vec<String>,
    },
    /// the host was suspended, or its clock was set
    #[error("{what} while the machine ran")]
    Clock {
        /// the event
        what: String,
    },
    /// the process of the machine's TPM exited
    #[error("the machine's TPM exited with {status}: {log}")]
    Tpm {
        /// exit status or signal
        status: String,
        /// the end of its log
        #[serde(alias = "words")]
        log: String,
    },
    /// the guest runs, and its sshd does not answer
    #[error("the guest's SSH failed: {what}")]
    Ssh {
        /// the failure
        what: String,
        /// the end of the console
        console: Vec<String>,
    },
    /// firmware or boot loader found nothing to boot
    #[error("the guest found nothing to boot: {line}")]
    Boot {
        /// the line with the error
        line: String,
        /// the lines around it
        console: Vec<String>,
    },
    /// the console stayed empty
    #[error("the guest printed nothing on its console within {seconds} s of its start")]
    Silent {
        /// the limit
        seconds: u64,
    },
    /// the guest wrote more than anybody can read
    #[error("the guest wrote more than {bytes} bytes to its {what}")]
    Flood {
        /// `console`, `journal` or `event port`
        what: String,
        /// the limit
        bytes: u64,
    },
    /// a wait reached its limit on a host that has no processor for the guest
    #[error("the host had no processor for the guest in {lost} of {seconds} s: waited for {what}")]
    Starved {
        /// the object of the wait
        what: String,
        /// the time of the wait
        seconds: u64,
        /// how much of it the guest could have run
        lost: u64,
        /// the end of the console
        console: Vec<String>,
    },
    /// a wait reached its limit
    #[error("timed out after {seconds} s: waited for {what}")]
    TimedOut {
        /// the object of the wait
        what: String,
        /// the limit
        seconds: u64,
        /// the end of the console
        console: Vec<String>,
    },
}

impl Fault {
    /// The fault of a guest that the host starves.
    pub(crate) fn starved(what: String, share: HostShare, console: Vec<String>) -> Self {
        Self::Starved { what, seconds: share.wall.as_secs(), lost: share.lost.as_secs(), console }
    }

    /// The fault of a wait that reached its limit, with the share of the host that the machine had meanwhile.
    pub(crate) fn timed_out(what: String, share: HostShare, console: Vec<String>) -> Self {
        if share.is_starved() {
            return Self::starved(what, share, console);
        }
        Self::TimedOut { what, seconds: share.wall.as_secs(), console }
    }

    /// The lines of the console around the cause.
    pub fn console(&self) -> &[String] {
        match self {
            Self::Panic { console, .. }
            | Self::Initrd { console, .. }
            | Self::Emergency { console, .. }
            | Self::Boot { console, .. }
            | Self::Halted { console }
            | Self::Ssh { console, .. }
            | Self::Starved { console, .. }
            | Self::TimedOut { console, .. } => console,
            Self::Stopped { .. }
            | Self::PoweredOff
            | Self::Exited { .. }
            | Self::Disk { .. }
            | Self::Hung { .. }
            | Self::Clock { .. }
            | Self::Tpm { .. }
            | Self::Flood { .. }
            | Self::Silent { .. } => &[],
        }
    }
}
