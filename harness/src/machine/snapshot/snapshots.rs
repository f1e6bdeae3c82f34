// SPDX-License-Identifier: Apache-2.0
//! The snapshots in the user's store.
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use camino::Utf8PathBuf;
use loadgauge_host::Store;
use serde::Serialize;

use super::snapshot::{Snapshot, SnapshotFiles, disk_use, seconds};
use crate::machine::directory::{FileError, at};

/// The shelf of the store.
const SHELF: &str = "snapshot";
/// Before what is half made or half removed.
const UNFINISHED: &str = ".unfinished-";

/// Snapshots, each in a directory under the digest of its key.
///
/// A lock file per key is held shared by whoever uses the snapshot and alone by whoever makes or removes
/// it, so that runs side by side make each once and none loses what it uses. A snapshot appears under
/// its name only when it is whole. The kernel gives a lock up with the process that holds it.
#[derive(Debug, Clone)]
pub struct Snapshots {
    shelf: Utf8PathBuf,
    limit: u64,
}

/// What there is under a key at the moment.
#[derive(Debug)]
pub(crate) enum Taken {
    /// a snapshot
    Held(Arc<Held>),
    /// nothing; the caller may make it, and nobody else
    Vacant(Vacancy),
    /// somebody is making or removing it
    Busy,
}

/// A snapshot that nobody removes as long as this is held.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) snapshot: Snapshot,
    pub(crate) files: SnapshotFiles,
    _lock: File,
}

/// The right to make a snapshot, and a directory to make it in. Dropped, it takes everything along.
#[derive(Debug)]
pub(crate) struct Vacancy {
    scratch: tempfile::TempDir,
    pub(crate) files: SnapshotFiles,
    target: Utf8PathBuf,
    lock: File,
}

/// A snapshot as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotEntry {
    /// the digest of its key
    pub key: String,
    /// where it lies
    pub path: Utf8PathBuf,
    /// bytes on the host's disk
    pub size: u64,
    /// when it was used last, in seconds since the Unix epoch
    pub used: u64,
    /// whether a machine runs from it, or it is being made
    pub in_use: bool,
    /// what it is; nothing, where it cannot be used
    pub snapshot: Option<Snapshot>,
}

impl Snapshots {
    /// Those in a store, which shall take `limit` bytes at most.
    pub fn in_store(store: &Store, limit: u64) -> Self {
        Self { shelf: store.root().join(SHELF), limit }
    }

    /// Whether there is one that can be used under a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.files(key).read().is_some()
    }

    /// Takes what there is under a key, without waiting.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) fn take(&self, key: &str) -> Result<Taken, FileError> {
        fs::create_dir_all(&self.shelf).map_err(at("create the directory", &self.shelf))?;
        let Some(lock) = self.lock_shared(key)? else { return Ok(Taken::Busy) };
        let files = self.files(key);
        if let Some(snapshot) = files.read() {
            let used = files.used();
            // The order of use is all that is lost where this fails.
            let touched = File::create(&used).and_then(|file| file.set_modified(SystemTime::now()));
            if let Err(error) = touched {
                tracing::warn!(path = %used, %error, "the use of a snapshot cannot be noted");
            }
            return Ok(Taken::Held(Arc::new(Held { snapshot, files, _lock: lock })));
        }
        drop(lock);
        let Some(lock) = self.lock_alone(key)? else { return Ok(Taken::Busy) };
        let target = self.shelf.join(key);
        if files.read().is_some() {
            // Somebody was quicker.
            return Ok(Taken::Busy);
        }
        self.remove(key)?;
        self.sweep(key);
        let scratch = tempfile::Builder::new()
            .prefix(&format!("{UNFINISHED}{key}-"))
            .tempdir_in(&self.shelf)
            .map_err(at("create a directory in", &self.shelf))?;
        let directory = Utf8PathBuf::from(scratch.path().to_string_lossy().as_ref());
        Ok(Taken::Vacant(Vacancy { scratch, files: SnapshotFiles::at(directory), target, lock }))
    }

    /// Removes a snapshot that has shown that it is none, unless others use it.
    pub(crate) fn discard(&self, key: &str) {
        let removed = self.lock_alone(key).and_then(|lock| lock.map_or(Ok(()), |_lock| self.remove(key)));
        if let Err(error) = removed {
            tracing::warn!(key, %error, "a snapshot that cannot be used cannot be removed either");
        }
    }

    /// All of them, the one used last first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> Result<Vec<SnapshotEntry>, FileError> {
        let mut entries: Vec<SnapshotEntry> =
            self.keys()?.into_iter().map(|key| self.entry(key)).collect::<Result<_, _>>()?;
        entries.sort_by(|one, other| (other.used, &one.key).cmp(&(one.used, &other.key)));
        Ok(entries)
    }

    /// Removes those that were used longest ago until the others take no more than the limit, and gives
    /// back what was removed. Those in use stay.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn trim(&self) -> Result<Vec<SnapshotEntry>, FileError> {
        for name in self.unfinished() {
            self.sweep_if_free(&name);
        }
        let mut removed = Vec::new();
        let entries = self.list()?;
        let mut total: u64 = entries.iter().map(|entry| entry.size).sum();
        for entry in entries.into_iter().rev() {
            if total <= self.limit {
                break;
            }
            if let Some(_lock) = self.lock_alone(&entry.key)? {
                self.remove(&entry.key)?;
                total -= entry.size;
                removed.push(entry);
            }
        }
        Ok(removed)
    }

    fn files(&self, key: &str) -> SnapshotFiles {
        SnapshotFiles::at(self.shelf.join(key))
    }

    fn entry(&self, key: String) -> Result<SnapshotEntry, FileError> {
        let files = self.files(&key);
        let path = self.shelf.join(&key);
        let used = fs::metadata(files.used()).or_else(|_| fs::metadata(&path));
        let used = used.and_then(|metadata| metadata.modified()).map_or(0, seconds);
        let in_use = self.lock_alone(&key)?.is_none();
        Ok(SnapshotEntry { size: disk_use(&path), used, in_use, snapshot: files.read(), key, path })
    }

    fn keys(&self) -> Result<Vec<String>, FileError> {
        let entries = match self.shelf.read_dir_utf8() {
            Ok(entries) => entries.flatten(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at("list", &self.shelf)(error)),
        };
        Ok(entries.map(|entry| entry.file_name().to_owned()).filter(|name| !name.starts_with('.')).collect())
    }

    fn lock_shared(&self, key: &str) -> Result<Option<File>, FileError> {
        self.lock(key, File::try_lock_shared)
    }

    fn lock_alone(&self, key: &str) -> Result<Option<File>, FileError> {
        self.lock(key, File::try_lock)
    }

    fn lock(
        &self,
        key: &str,
        lock: impl FnOnce(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<File>, FileError> {
        let path = self.shelf.join(format!(".{key}.lock"));
        let file = File::create(&path).map_err(at("create", &path))?;
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(at("lock", &path)(error)),
        }
        // It may have been removed since it was opened, and be locked by nobody else for that reason.
        let same = |one: &fs::Metadata, other: &fs::Metadata| one.ino() == other.ino();
        let still = file.metadata().is_ok_and(|ours| fs::metadata(&path).is_ok_and(|now| same(&ours, &now)));
        Ok(still.then_some(file))
    }

    /// Removes the snapshot under a key, whose lock is held, in one step for whoever looks.
    fn remove(&self, key: &str) -> Result<(), FileError> {
        let path = self.shelf.join(key);
        let aside = self.shelf.join(format!("{UNFINISHED}{key}-{}", std::process::id()));
        match fs::rename(&path, &aside) {
            Ok(()) => fs::remove_dir_all(&aside).map_err(at("remove", &aside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at("remove", &path)(error)),
        }
    }

    /// What was being made or removed, by whomever.
    fn unfinished(&self) -> Vec<String> {
        let entries = self.shelf.read_dir_utf8().into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_owned())
            .filter(|name| name.starts_with(UNFINISHED))
            .collect()
    }

    /// Removes what is unfinished under a key, whose lock is held: whoever was at it is gone.
    fn sweep(&self, key: &str) {
        let prefix = format!("{UNFINISHED}{key}-");
        for name in self.unfinished().into_iter().filter(|name| name.starts_with(&prefix)) {
            let path = self.shelf.join(name);
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!(%path, %error, "cannot remove what was left half-made");
            }
        }
    }

    fn sweep_if_free(&self, name: &str) {
        let key = name.strip_prefix(UNFINISHED).and_then(|rest| rest.split('-').next());
        let Some(key) = key else { return };
        if let Ok(Some(_lock)) = self.lock_alone(key) {
            self.sweep(key);
        }
    }
}

impl Vacancy {
    /// Puts the finished snapshot under its name, and holds it.
    ///
    /// # Errors
    /// Its description cannot be written, or its directory not be renamed.
    pub(crate) fn commit(self, snapshot: Snapshot) -> Result<Arc<Held>, FileError> {
        let path = self.files.description();
        let text = serde_json::to_string_pretty(&snapshot).map_err(io::Error::from);
        text.and_then(|text| fs::write(&path, text)).map_err(at("write", &path))?;
        let used = self.files.used();
        File::create(&used).map_err(at("create", &used))?;
        fs::rename(self.scratch.keep(), &self.target).map_err(at("put in place", &self.target))?;
        // Not in one step: somebody else may remove it in between, which is found when it is used.
        self.lock.lock_shared().map_err(at("lock", &self.target))?;
        let files = SnapshotFiles::at(self.target);
        let durable = files.clone();
        std::thread::spawn(move || {
            if let Err(error) = durable.make_durable() {
                tracing::debug!(%error, "a snapshot may not outlive this boot of the host");
            }
        });
        Ok(Arc::new(Held { snapshot, files, _lock: self.lock }))
    }
}

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
