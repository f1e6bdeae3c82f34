// SPDX-License-Identifier: Apache-2.0
//! The snapshots in the store.
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use loadgauge_host::{Bounds, EntryInUse, FileError, Store, StoreError, TryEntry, Vacancy, fs};
use serde::Serialize;

use super::parts::SnapshotDamage;
use super::snapshot::{Snapshot, SnapshotFiles, seconds};

/// The kind of the store's entries.
const KIND: &str = "snapshot";

/// Snapshots, each an entry of the store under the digest of its key.
///
/// Concurrent runs make each snapshot once, and a snapshot in use is never removed.
#[derive(Debug, Clone)]
pub struct Snapshots {
    store: Store,
    limit: u64,
}

/// The result of [`Snapshots::take`].
#[derive(Debug)]
pub(crate) enum SnapshotLookup {
    /// a usable snapshot
    Ready(Arc<SnapshotInUse>),
    /// no usable snapshot; only the caller may make it
    Vacant(SnapshotVacancy),
    /// another task or process makes or removes it
    Busy,
    /// it cannot be used; it was removed, unless others use it
    Damaged(SnapshotDamage),
}

/// A snapshot that is not removed as long as this value exists.
#[derive(Debug)]
pub(crate) struct SnapshotInUse {
    pub(crate) snapshot: Snapshot,
    pub(crate) files: SnapshotFiles,
    _entry: EntryInUse,
}

/// The right to make a snapshot, and a directory to make it in. Dropped, it removes the directory.
#[derive(Debug)]
pub(crate) struct SnapshotVacancy(Vacancy);

/// A snapshot for lists.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotEntry {
    /// the digest of its key
    pub key: String,
    /// its directory
    pub path: Utf8PathBuf,
    /// bytes on the host's disk
    pub size: u64,
    /// when it was last used, in seconds since the Unix epoch
    pub used: u64,
    /// whether a machine runs from it, or it is being made
    pub in_use: bool,
    /// its description, or nothing if it cannot be used
    pub snapshot: Option<Snapshot>,
}

impl Snapshots {
    /// The snapshots in a store, which may use `limit` bytes together.
    pub fn in_store(store: &Store, limit: u64) -> Self {
        Self { store: store.clone(), limit }
    }

    /// Whether there is a usable snapshot under a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.files(key).read().is_ok()
    }

    /// Looks a snapshot up without waiting.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) fn take(&self, key: &str) -> Result<SnapshotLookup, StoreError> {
        let damage = RefCell::new(None);
        let found = self.store.try_entry(KIND, key, |directory| {
            let read = directory.exists().then(|| SnapshotFiles::at(directory).verify());
            let (snapshot, found) = match read {
                Some(Ok(snapshot)) => (Some(snapshot), None),
                Some(Err(damage)) => (None, Some(damage)),
                None => (None, None),
            };
            damage.replace(found);
            snapshot
        })?;
        Ok(match (found, damage.into_inner()) {
            (TryEntry::Ready(entry, snapshot), _) => {
                SnapshotLookup::Ready(SnapshotInUse::new(entry, snapshot))
            }
            (TryEntry::Vacant(_) | TryEntry::Busy, Some(damage)) => SnapshotLookup::Damaged(damage),
            (TryEntry::Vacant(vacancy), None) => SnapshotLookup::Vacant(SnapshotVacancy(vacancy)),
            (TryEntry::Busy, None) => SnapshotLookup::Busy,
        })
    }

    /// Removes a snapshot that could not be restored, unless others use it.
    pub(crate) fn discard(&self, key: &str) {
        if let Err(error) = self.store.discard(KIND, key) {
            tracing::warn!(key, %error, "cannot remove an unusable snapshot");
        }
    }

    /// Lists all snapshots, most recently used first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> Result<Vec<SnapshotEntry>, StoreError> {
        let entries = self.store.list(&[KIND])?;
        entries.into_iter().map(|entry| self.describe(entry.key, entry.size, seconds(entry.used))).collect()
    }

    /// Removes the least recently used snapshots until the others are within the limit, and returns them.
    /// Snapshots in use stay.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn trim(&self) -> Result<Vec<SnapshotEntry>, StoreError> {
        let listed = self.list()?;
        let removed = self.store.prune(&[KIND], Bounds { size: self.limit, age: Duration::ZERO })?;
        Ok(listed
            .into_iter()
            .rev()
            .filter(|entry| removed.iter().any(|removed| removed.key == entry.key))
            .collect())
    }

    fn describe(&self, key: String, size: u64, used: u64) -> Result<SnapshotEntry, StoreError> {
        let in_use = self.store.is_in_use(KIND, &key)?;
        let snapshot = self.files(&key).read().ok();
        let path = self.store.root().join(KIND).join(&key);
        Ok(SnapshotEntry { key, path, size, used, in_use, snapshot })
    }

    fn files(&self, key: &str) -> SnapshotFiles {
        SnapshotFiles::at(self.store.root().join(KIND).join(key))
    }
}

impl SnapshotInUse {
    fn new(entry: EntryInUse, snapshot: Snapshot) -> Arc<Self> {
        let files = SnapshotFiles::at(entry.path());
        Arc::new(Self { snapshot, files, _entry: entry })
    }
}

impl SnapshotVacancy {
    /// The files to make.
    pub(crate) fn files(&self) -> SnapshotFiles {
        SnapshotFiles::at(self.0.directory())
    }

    /// Writes the description, puts the complete snapshot under its name, and keeps it in use. The digests
    /// of large parts are computed, and the files flushed to the host's disk, in the background.
    ///
    /// # Errors
    /// A file operation fails.
    pub(crate) fn commit(self, snapshot: Snapshot) -> Result<Arc<SnapshotInUse>, StoreError> {
        let parts = self.files().parts()?;
        let snapshot = Snapshot { parts, ..snapshot };
        let path = self.files().description();
        let text = serde_json::to_string_pretty(&snapshot)
            .map_err(io::Error::from)
            .map_err(FileError::at("write", &path))?;
        fs::write(&path, text)?;
        let in_use = SnapshotInUse::new(self.0.commit_in_use()?, snapshot);
        let (files, parts) = (in_use.files.clone(), in_use.snapshot.parts.clone());
        std::thread::spawn(move || {
            let finished = files.write_digests(&parts).and_then(|()| files.flush_to_disk());
            if let Err(error) = finished {
                tracing::debug!(%error, "a snapshot may not survive a crash of the host");
            }
        });
        Ok(in_use)
    }
}

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
