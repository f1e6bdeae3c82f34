// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};
use serde::{Deserialize, Serialize};

use super::parts::{self, SnapshotDamage, SnapshotPart};
use crate::machine::layout::Layout;
use crate::machine::qemu::capabilities::SnapshotMode;

/// The description of a snapshot, in its `snapshot.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// the parts of its key
    pub key: BTreeMap<String, String>,
    /// the image's `PRETTY_NAME`
    pub image: String,
    /// the guest's memory in MiB
    pub memory_mib: u32,
    /// QEMU's machine type with its version
    #[serde(rename = "machine")]
    pub machine_type: String,
    /// how it was saved
    pub mode: SnapshotMode,
    /// a random text that only the guest's memory contains
    pub nonce: String,
    /// the boot ID of the saved guest
    pub boot_id: String,
    /// what `systemctl is-system-running` printed
    pub state: String,
    /// the time that the guest took to boot, in milliseconds
    pub boot_ms: u64,
    /// when it was made, in seconds since the Unix epoch
    pub made: u64,
    /// the host's boot ID when it was made: files that were not flushed are lost when the host crashes
    pub host_boot: String,
    /// its files, by name
    pub parts: BTreeMap<String, SnapshotPart>,
}

/// The paths of a snapshot's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotFiles(Utf8PathBuf);

impl SnapshotFiles {
    pub(crate) fn at(directory: impl Into<Utf8PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The guest's memory, if it has a file of its own.
    pub(crate) fn memory(&self) -> Utf8PathBuf {
        self.0.join("memory")
    }

    /// The state of the devices, and the memory if it has no file of its own.
    pub(crate) fn state(&self) -> Utf8PathBuf {
        self.0.join("state")
    }

    /// The directory of all files.
    pub(crate) fn directory(&self) -> &Utf8Path {
        &self.0
    }

    /// The saved disks and firmware variables, under the names that they have in a machine. The TPM's
    /// state is restored from [`SnapshotFiles::state`].
    pub(crate) fn machine(&self) -> Layout {
        Layout::new(&self.0, &self.0, "")
    }

    /// The guest's Ignition config.
    pub(crate) fn config(&self) -> Utf8PathBuf {
        self.0.join("config.ign")
    }

    /// The console's output up to the snapshot.
    pub(crate) fn console(&self) -> Utf8PathBuf {
        self.0.join("console.log")
    }

    /// The journal up to the snapshot.
    pub(crate) fn journal(&self) -> Utf8PathBuf {
        self.0.join("journal.jsonl")
    }

    /// The serialised [`Snapshot`]; written last.
    pub(crate) fn description(&self) -> Utf8PathBuf {
        self.0.join("snapshot.json")
    }

    /// Exists once every file has been flushed to the host's disk.
    pub(crate) fn durable(&self) -> Utf8PathBuf {
        self.0.join("durable")
    }

    /// The digests of the large parts, which are computed after the snapshot has come into use.
    fn digests(&self) -> Utf8PathBuf {
        self.0.join("digests.json")
    }

    /// The parts in the directory.
    pub(crate) fn parts(&self) -> Result<BTreeMap<String, SnapshotPart>, FileError> {
        let others = [self.description(), self.durable(), self.digests()];
        let others: Vec<&str> = others.iter().filter_map(|path| path.file_name()).collect();
        parts::of_directory(&self.0, &others)
    }

    /// Reads the description, and checks the presence and the sizes of all parts.
    ///
    /// # Errors
    /// The snapshot cannot be used.
    pub(crate) fn read(&self) -> Result<Snapshot, SnapshotDamage> {
        let text = fs::read_to_string(self.description())
            .map_err(|error| SnapshotDamage::Description(error.source.to_string()))?;
        let snapshot: Snapshot =
            serde_json::from_str(&text).map_err(|error| SnapshotDamage::Description(error.to_string()))?;
        if snapshot.host_boot != host_boot() && !self.durable().exists() {
            return Err(SnapshotDamage::NotOnDisk);
        }
        parts::check_sizes(&self.0, &snapshot.parts)?;
        Ok(snapshot)
    }

    /// As [`SnapshotFiles::read`], and checks the contents of the parts as far as a warm start allows.
    ///
    /// # Errors
    /// The snapshot cannot be used.
    pub(crate) fn verify(&self) -> Result<Snapshot, SnapshotDamage> {
        let snapshot = self.read()?;
        parts::check(&self.0, &snapshot.parts, &self.digests())?;
        Ok(snapshot)
    }

    /// Writes the digests of the large parts.
    pub(crate) fn write_digests(&self, parts: &BTreeMap<String, SnapshotPart>) -> Result<(), FileError> {
        parts::write_digests(&self.0, parts, &self.digests())
    }

    /// Flushes every file to the host's disk, and records that.
    pub(crate) fn flush_to_disk(&self) -> Result<(), FileError> {
        let sync =
            |file: std::fs::File, path: &Utf8Path| file.sync_all().map_err(FileError::at("sync", path));
        for entry in self.0.read_dir_utf8().map_err(FileError::at("list", &self.0))? {
            let entry = entry.map_err(FileError::at("list", &self.0))?;
            sync(fs::open(entry.path())?, entry.path())?;
        }
        sync(fs::create(self.durable())?, &self.durable())?;
        sync(fs::open(&self.0)?, &self.0)
    }
}

/// The host's boot ID (random(4)).
pub(crate) fn host_boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Seconds since the Unix epoch.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
