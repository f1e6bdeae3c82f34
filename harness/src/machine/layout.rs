// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};

/// Where the files of one machine lie: those that are kept, and those that go with it.
///
/// Nothing here touches a disk, so that a command line can be shown for a machine that never starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    kept: Utf8PathBuf,
    runtime: Utf8PathBuf,
    relay: Utf8PathBuf,
    state: Option<Utf8PathBuf>,
}

/// The longest path that a unix socket can have: `sun_path` with its NUL is 108 bytes (unix(7)).
pub(crate) const LONGEST_SOCKET: usize = 107;

impl Layout {
    /// A machine whose records are kept in one directory, whose sockets and disk live in another, which
    /// must have a short path, and whose guest reaches the harness through a program.
    pub fn new(
        kept: impl Into<Utf8PathBuf>,
        runtime: impl Into<Utf8PathBuf>,
        relay: impl Into<Utf8PathBuf>,
    ) -> Self {
        Self { kept: kept.into(), runtime: runtime.into(), relay: relay.into(), state: None }
    }

    /// The same machine with its disks, variables and TPM somewhere else, where they outlive it.
    #[must_use]
    pub(crate) fn with_state(self, directory: impl Into<Utf8PathBuf>) -> Self {
        Self { state: Some(directory.into()), ..self }
    }

    fn state(&self) -> &Utf8Path {
        self.state.as_deref().unwrap_or(&self.runtime)
    }

    /// Where the records are kept.
    pub fn kept(&self) -> &Utf8Path {
        &self.kept
    }

    /// What is removed when the machine ends.
    pub fn runtime(&self) -> &Utf8Path {
        &self.runtime
    }

    /// The program that is run as `PROGRAM relay SOCKET` for each of the guest's connections.
    pub fn relay(&self) -> &Utf8Path {
        &self.relay
    }

    /// Kept: every byte of the console.
    pub fn console_log(&self) -> Utf8PathBuf {
        self.kept.join("console.log")
    }

    /// Kept: the guest's journal, as `journalctl -o json` prints it.
    pub fn journal_log(&self) -> Utf8PathBuf {
        self.kept.join("journal.jsonl")
    }

    /// Kept: the Ignition config that the guest gets.
    pub fn ignition(&self) -> Utf8PathBuf {
        self.kept.join("config.ign")
    }

    /// Kept: QEMU's command line, as one would type it.
    pub fn command_line(&self) -> Utf8PathBuf {
        self.kept.join("qemu.txt")
    }

    /// Kept: what QEMU itself printed.
    pub fn qemu_log(&self) -> Utf8PathBuf {
        self.kept.join("qemu.log")
    }

    /// The disk that the guest writes to.
    pub fn overlay(&self) -> Utf8PathBuf {
        self.state().join("disk.qcow2")
    }

    /// An empty disk of the machine, counted from 0.
    pub fn extra_disk(&self, number: usize) -> Utf8PathBuf {
        self.state().join(format!("disk{number}.qcow2"))
    }

    /// The machine's own copy of its firmware's variables.
    pub fn firmware_variables(&self) -> Utf8PathBuf {
        self.state().join("variables")
    }

    /// The directory with the state of its TPM.
    pub fn tpm_state(&self) -> Utf8PathBuf {
        self.state().join("tpm-state")
    }

    /// QEMU connects to the TPM through this socket.
    pub fn tpm_socket(&self) -> Utf8PathBuf {
        self.runtime.join("tpm")
    }

    /// Kept: what the TPM itself printed.
    pub fn tpm_log(&self) -> Utf8PathBuf {
        self.kept.join("tpm.log")
    }

    /// QEMU connects its monitor to this socket.
    pub fn qmp_socket(&self) -> Utf8PathBuf {
        self.runtime.join("qmp")
    }

    /// QEMU connects the guest's first serial port to this socket.
    pub fn console_socket(&self) -> Utf8PathBuf {
        self.runtime.join("console")
    }

    /// QEMU connects the guest's port for events to this socket.
    pub fn events_socket(&self) -> Utf8PathBuf {
        self.runtime.join("events")
    }

    /// QEMU connects the guest's port for the journal to this socket.
    pub fn journal_socket(&self) -> Utf8PathBuf {
        self.runtime.join("journal")
    }

    /// QEMU connects the guest's interface to the other machines of its scenario to this socket.
    pub fn segment_socket(&self) -> Utf8PathBuf {
        self.runtime.join("segment")
    }

    /// The relay connects to this socket for each connection that the guest opens to the harness.
    pub fn http_socket(&self) -> Utf8PathBuf {
        self.runtime.join("http")
    }
}
