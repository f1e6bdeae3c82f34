// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use camino::Utf8Path;

use super::store::{
    INCOMPLETE, Store, StoreError, incomplete_prefix, lock_path, remove_incomplete, try_lock,
};
use crate::{FileError, fs, scratch};

/// An entry of a store, which can be made again at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// the kind of artefact
    pub kind: String,
    /// the digest of its inputs
    pub key: String,
    /// bytes on the host's disk
    pub size: u64,
    /// the time of the last use
    pub used: SystemTime,
}

/// The limits of [`Store::prune`].
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// the maximum size of all entries together, in bytes
    pub size: u64,
    /// the age below which entries stay
    pub age: Duration,
}

impl Store {
    /// Lists the entries of some kinds, most recently used first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self, kinds: &[&str]) -> Result<Vec<StoredEntry>, StoreError> {
        let mut found = Vec::new();
        for kind in kinds {
            let parent = self.root().join(kind);
            for key in keys(&parent)? {
                let path = parent.join(&key);
                let used = fs::metadata(lock_path(&parent, &key)).or_else(|_| fs::metadata(&path));
                let used = used.ok().and_then(|metadata| metadata.modified().ok());
                let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(StoredEntry { kind: (*kind).to_owned(), key, size: size(&path), used });
            }
        }
        found.sort_by(|one, other| {
            (other.used, &one.kind, &one.key).cmp(&(one.used, &other.kind, &other.key))
        });
        Ok(found)
    }

    /// Removes the least recently used entries until the rest is within the bounds, and returns them.
    ///
    /// Entries in use stay. Incomplete entries of processes that have exited are removed as well.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn prune(&self, kinds: &[&str], bounds: Bounds) -> Result<Vec<StoredEntry>, StoreError> {
        for kind in kinds {
            self.remove_abandoned(kind)?;
        }
        let entries = self.list(kinds)?;
        let mut total: u64 = entries.iter().map(|entry| entry.size).sum();
        let now = SystemTime::now();
        let mut removed = Vec::new();
        for entry in entries.into_iter().rev() {
            let is_fresh = now.duration_since(entry.used).unwrap_or_default() < bounds.age;
            if total <= bounds.size || is_fresh {
                break;
            }
            if self.discard(&entry.kind, &entry.key)? {
                total -= entry.size;
                removed.push(entry);
            }
        }
        Ok(removed)
    }

    /// Removes what processes have left that were killed, or that ran when the host crashed. A store that cannot
    /// be written is left as it is.
    pub fn recover(&self) {
        scratch::sweep(self.root().as_std_path());
        for kind in names(self.root()).unwrap_or_default() {
            if let Err(error) = self.remove_abandoned(&kind) {
                tracing::debug!(%error, "cannot remove incomplete entries");
            }
        }
    }

    /// Removes incomplete entries that no process is making.
    fn remove_abandoned(&self, kind: &str) -> Result<(), StoreError> {
        let parent = self.root().join(kind);
        for name in names(&parent)? {
            let key = name.strip_prefix('.').and_then(|name| name.split_once(INCOMPLETE)).map(|(key, _)| key);
            let Some(key) = key else { continue };
            if let Some(_lock) = try_lock(&parent, key, File::try_lock)? {
                remove_incomplete(&parent, &incomplete_prefix(key));
            }
        }
        Ok(())
    }
}

fn keys(parent: &Utf8Path) -> Result<Vec<String>, StoreError> {
    let is_entry = |name: &String| !name.starts_with('.') && parent.join(name).is_dir();
    Ok(names(parent)?.into_iter().filter(is_entry).collect())
}

fn names(parent: &Utf8Path) -> Result<Vec<String>, StoreError> {
    if !parent.is_dir() {
        return Ok(Vec::new());
    }
    match parent.read_dir_utf8() {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.file_name().to_owned()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(FileError::at("list", parent)(error).into()),
    }
}

/// Returns the disk space that a directory uses, in bytes; holes in sparse files do not count.
fn size(path: &Utf8Path) -> u64 {
    let files = walkdir::WalkDir::new(path).into_iter().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
