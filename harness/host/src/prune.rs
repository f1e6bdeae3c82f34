// SPDX-License-Identifier: Apache-2.0
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};

use super::store::{Store, StoreError, half_made, is_current, lock_of, sweep};

/// Something that is kept in a store, to be made again at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// what it is one of
    pub kind: String,
    /// what it was made from
    pub key: String,
    /// bytes on the host's disk
    pub size: u64,
    /// when it was used last
    pub used: SystemTime,
}

/// What may go.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// how many bytes may stay
    pub size: u64,
    /// what was used within this time stays
    pub age: Duration,
}

impl Store {
    /// What is kept of some kinds, that which was used last first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn kept(&self, kinds: &[&str]) -> Result<Vec<StoredEntry>, StoreError> {
        let mut found = Vec::new();
        for kind in kinds {
            let place = self.root().join(kind);
            for key in keys(&place)? {
                let path = place.join(&key);
                let used = fs::metadata(lock_of(&place, &key)).or_else(|_| fs::metadata(&path));
                let used = used.and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(StoredEntry { kind: (*kind).to_owned(), key, size: size(&path), used });
            }
        }
        found.sort_by(|one, other| {
            (other.used, &one.kind, &one.key).cmp(&(one.used, &other.kind, &other.key))
        });
        Ok(found)
    }

    /// Removes what was used longest ago until the rest is within the bounds, and gives back what was
    /// removed. What another process makes or has taken to use stays, and what was left half-made goes.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn prune(&self, kinds: &[&str], bounds: Bounds) -> Result<Vec<StoredEntry>, StoreError> {
        for kind in kinds {
            self.sweep_half_made(kind)?;
        }
        let entries = self.kept(kinds)?;
        let mut total: u64 = entries.iter().map(|entry| entry.size).sum();
        let now = SystemTime::now();
        let mut removed = Vec::new();
        for entry in entries.into_iter().rev() {
            let is_fresh = now.duration_since(entry.used).unwrap_or_default() < bounds.age;
            if total <= bounds.size || is_fresh {
                break;
            }
            if self.remove(&entry)? {
                total -= entry.size;
                removed.push(entry);
            }
        }
        Ok(removed)
    }

    /// Removes an entry in one step for whoever looks, unless it is in use.
    fn remove(&self, entry: &StoredEntry) -> Result<bool, StoreError> {
        let place = self.root().join(&entry.kind);
        let Some((_lock, lock_path)) = try_lock(&place, &entry.key)? else { return Ok(false) };
        let aside = place.join(format!("{}removed", half_made(&entry.key)));
        let path = place.join(&entry.key);
        match fs::rename(&path, &aside) {
            Ok(()) => fs::remove_dir_all(&aside).map_err(failed("remove", &aside))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("remove", &path)(error)),
        }
        fs::remove_file(&lock_path).map_err(failed("remove", &lock_path))?;
        Ok(true)
    }

    /// Removes what nobody is making any more.
    fn sweep_half_made(&self, kind: &str) -> Result<(), StoreError> {
        let place = self.root().join(kind);
        for name in names(&place)? {
            let key = name.strip_prefix('.').and_then(|name| name.split_once(".making-")).map(|(key, _)| key);
            let Some(key) = key else { continue };
            if let Some((_lock, _)) = try_lock(&place, key)? {
                sweep(&place, &half_made(key));
            }
        }
        Ok(())
    }
}

/// The lock of an entry, where nobody else has it.
fn try_lock(place: &Utf8Path, key: &str) -> Result<Option<(File, Utf8PathBuf)>, StoreError> {
    let path = lock_of(place, key);
    // Not cut short: its time is when the entry was used last.
    let options = File::options().append(true).create(true).open(&path);
    let lock = options.map_err(failed("open", &path))?;
    match lock.try_lock() {
        Ok(()) if is_current(&lock, &path) => Ok(Some((lock, path))),
        Ok(()) | Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

fn keys(place: &Utf8Path) -> Result<Vec<String>, StoreError> {
    Ok(names(place)?.into_iter().filter(|name| !name.starts_with('.') && place.join(name).is_dir()).collect())
}

fn names(place: &Utf8Path) -> Result<Vec<String>, StoreError> {
    match place.read_dir_utf8() {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.file_name().to_owned()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("list", place)(error)),
    }
}

/// How many bytes of the host's disk a directory takes.
fn size(path: &Utf8Path) -> u64 {
    let files = walkdir::WalkDir::new(path).into_iter().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

fn failed(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
