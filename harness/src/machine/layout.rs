// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};

/// The paths of one machine's files: records, which stay, and runtime files, which are removed with it.
///
/// No method accesses the disk, so that `plan` can show the command line of a machine that never starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    records: Utf8PathBuf,
    runtime: Utf8PathBuf,
    relay: Utf8PathBuf,
    state: Option<Utf8PathBuf>,
}

/// The longest path of a Unix socket: `sun_path` with its NUL is 108 bytes (unix(7)).
pub(crate) const LONGEST_SOCKET: usize = 107;

impl Layout {
    /// A machine with a directory for records, one for sockets and disks, whose path must be short, and a
    /// relay program for the guest's connections to the harness.
    pub fn new(
        records: impl Into<Utf8PathBuf>,
        runtime: impl Into<Utf8PathBuf>,
        relay: impl Into<Utf8PathBuf>,
    ) -> Self {
        Self { records: records.into(), runtime: runtime.into(), relay: relay.into(), state: None }
    }

    /// The same machine with its disks, firmware variables and TPM state in a directory that outlives it.
    #[must_use]
    pub(crate) fn with_state(self, directory: impl Into<Utf8PathBuf>) -> Self {
        Self { state: Some(directory.into()), ..self }
    }

    fn state(&self) -> &Utf8Path {
        self.state.as_deref().unwrap_or(&self.runtime)
    }

    /// The directory of the records.
    pub fn records(&self) -> &Utf8Path {
        &self.records
    }

    /// The directory that is removed with the machine.
    pub fn runtime(&self) -> &Utf8Path {
        &self.runtime
    }

    /// The program that QEMU runs as `PROGRAM relay SOCKET` for each of the guest's connections.
    pub fn relay(&self) -> &Utf8Path {
        &self.relay
    }

    /// Record: the output on the console.
    pub fn console_log(&self) -> Utf8PathBuf {
        self.records.join("console.log")
    }

    /// Record: the journal, in the format of `journalctl -o json`.
    pub fn journal_log(&self) -> Utf8PathBuf {
        self.records.join("journal.jsonl")
    }

    /// Record: the guest's Ignition config.
    pub fn ignition(&self) -> Utf8PathBuf {
        self.records.join("config.ign")
    }

    /// Record: QEMU's command line, quoted for a shell.
    pub fn command_line(&self) -> Utf8PathBuf {
        self.records.join("qemu.txt")
    }

    /// Record: QEMU's log.
    pub fn qemu_log(&self) -> Utf8PathBuf {
        self.records.join("qemu.log")
    }

    /// The overlay that the guest writes to.
    pub fn overlay(&self) -> Utf8PathBuf {
        self.state().join("disk.qcow2")
    }

    /// An additional disk, counted from 0.
    pub fn extra_disk(&self, number: usize) -> Utf8PathBuf {
        self.state().join(format!("disk{number}.qcow2"))
    }

    /// The machine's own copy of its firmware variables.
    pub fn firmware_variables(&self) -> Utf8PathBuf {
        self.state().join("variables")
    }

    /// The directory of the TPM's state.
    pub fn tpm_state(&self) -> Utf8PathBuf {
        self.state().join("tpm-state")
    }

    /// The socket through which QEMU reaches the TPM.
    pub fn tpm_socket(&self) -> Utf8PathBuf {
        self.runtime.join("tpm")
    }

    /// Record: the log of the TPM.
    pub fn tpm_log(&self) -> Utf8PathBuf {
        self.records.join("tpm.log")
    }

    /// The socket for QMP.
    pub fn qmp_socket(&self) -> Utf8PathBuf {
        self.runtime.join("qmp")
    }

    /// The socket of the guest's first serial port.
    pub fn console_socket(&self) -> Utf8PathBuf {
        self.runtime.join("console")
    }

    /// The socket of the guest's event port.
    pub fn events_socket(&self) -> Utf8PathBuf {
        self.runtime.join("events")
    }

    /// The socket of the guest's journal port.
    pub fn journal_socket(&self) -> Utf8PathBuf {
        self.runtime.join("journal")
    }

    /// The socket of the guest's network interface to its peers.
    pub fn peers_socket(&self) -> Utf8PathBuf {
        self.runtime.join("peers")
    }

    /// The socket that the relay connects to, once for each of the guest's connections to the harness.
    pub fn http_socket(&self) -> Utf8PathBuf {
        self.runtime.join("http")
    }
}
