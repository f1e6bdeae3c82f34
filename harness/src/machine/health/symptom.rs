// SPDX-License-Identifier: Apache-2.0
use super::host_load::HostShare;
use crate::machine::qemu::process::ProcessState;
use crate::machine::qemu::qmp::RunState;

/// A sign that a machine cannot continue. [`monitor`](super::monitor) makes one fault of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Symptom {
    /// a line of the console matches a rule
    Console,
    /// the guest's pvpanic device reported a kernel panic
    Panicked,
    /// QEMU stopped the guest
    Stopped(RunState),
    /// the guest powered itself off
    PoweredOff,
    /// QEMU exited
    Exited {
        /// exit status or signal
        status: String,
        /// the end of its log
        log: String,
    },
    /// the host could not read or write a disk of the guest
    Disk {
        /// the disk, as `info block` names it
        device: String,
        /// `read` or `write`
        operation: String,
        /// the host's error
        reason: String,
    },
    /// QEMU does not answer over QMP
    Hung {
        /// the time without an answer
        seconds: u64,
        /// the state of its process
        state: ProcessState,
    },
    /// every processor of the guest is halted with interrupts off
    Halted,
    /// the host was suspended, or its clock was set
    Clock {
        /// the event
        what: String,
    },
    /// the TPM's process exited
    Tpm {
        /// exit status or signal
        status: String,
        /// the end of its log
        log: String,
    },
    /// the guest writes more than anybody can read
    Flood {
        /// `console`, `journal` or `event port`
        what: String,
        /// the limit that it exceeded
        bytes: u64,
    },
    /// the guest does not answer, and the host gives it no processor
    Starved {
        /// the object of the wait
        what: String,
        /// the share of the host that it had
        share: HostShare,
    },
    /// the guest's sshd does not answer
    Ssh {
        /// the failure
        what: String,
    },
}
