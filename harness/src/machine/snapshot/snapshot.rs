// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::machine::layout::Layout;
use crate::machine::qemu::capabilities::SnapshotMode;

/// What a snapshot is, beside its files. It stands in `snapshot.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// what its key was made of
    pub key: BTreeMap<String, String>,
    /// the image's `PRETTY_NAME`
    pub image: String,
    /// of the guest, in MiB
    pub memory_mib: u32,
    /// QEMU's machine by its versioned name
    pub machine: String,
    /// how it was saved
    pub mode: SnapshotMode,
    /// the word that the guest keeps in its memory and nowhere else
    pub nonce: String,
    /// of the boot that was saved
    pub boot_id: String,
    /// what `systemctl is-system-running` said in it
    pub state: String,
    /// milliseconds that this boot took
    pub boot_ms: u64,
    /// when it was made, in seconds since the Unix epoch
    pub made: u64,
    /// the boot of the host in which it was made: what was not written to the host's disk is gone after
    /// the next
    pub host_boot: String,
}

/// The places of a snapshot's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotFiles(Utf8PathBuf);

impl SnapshotFiles {
    pub(crate) fn at(directory: impl Into<Utf8PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The guest's memory, where it lies in a file of its own.
    pub(crate) fn memory(&self) -> Utf8PathBuf {
        self.0.join("memory")
    }

    /// The state of the devices and, where it has no file of its own, the memory.
    pub(crate) fn state(&self) -> Utf8PathBuf {
        self.0.join("state")
    }

    /// Where they lie.
    pub(crate) fn directory(&self) -> &Utf8Path {
        &self.0
    }

    /// Disks, variables and TPM as they were, where a machine would have them. A TPM's state lies with
    /// that of the other devices as well, and is taken from there.
    pub(crate) fn machine(&self) -> Layout {
        Layout::new(&self.0, &self.0, "")
    }

    /// Ignition's config, as the guest got it.
    pub(crate) fn config(&self) -> Utf8PathBuf {
        self.0.join("config.ign")
    }

    /// What the guest said on its console.
    pub(crate) fn console(&self) -> Utf8PathBuf {
        self.0.join("console.log")
    }

    /// What the guest sent of its journal.
    pub(crate) fn journal(&self) -> Utf8PathBuf {
        self.0.join("journal.jsonl")
    }

    /// What it is; written last.
    pub(crate) fn description(&self) -> Utf8PathBuf {
        self.0.join("snapshot.json")
    }

    /// Says, by the time of its last change, when the snapshot was used last.
    pub(crate) fn used(&self) -> Utf8PathBuf {
        self.0.join("used")
    }

    /// Exists once everything has reached the host's disk.
    pub(crate) fn durable(&self) -> Utf8PathBuf {
        self.0.join("durable")
    }

    /// Reads what the snapshot is, if it is one that can be used: whole, and not lost with the host's
    /// last boot.
    pub(crate) fn read(&self) -> Option<Snapshot> {
        let text = std::fs::read_to_string(self.description()).ok()?;
        let snapshot: Snapshot = serde_json::from_str(&text).ok()?;
        let survived = snapshot.host_boot == host_boot() || self.durable().exists();
        survived.then_some(snapshot)
    }

    /// Has the host write everything to its disk, and then says that it did.
    pub(crate) fn make_durable(&self) -> io::Result<()> {
        for entry in self.0.read_dir_utf8()? {
            File::open(entry?.path())?.sync_all()?;
        }
        File::create(self.durable())?.sync_all()?;
        File::open(&self.0)?.sync_all()
    }
}

/// The id of this boot of the host (random(4)).
pub(crate) fn host_boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// How much of the host's disk a directory's files take: memory has holes where the guest used none.
pub(crate) fn disk_use(directory: &Utf8Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = directory.read_dir_utf8().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.blocks() * 512).sum()
}

/// Seconds since the Unix epoch.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
