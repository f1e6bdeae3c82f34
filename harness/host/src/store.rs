// SPDX-License-Identifier: Apache-2.0
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use etcetera::BaseStrategy as _;

use crate::{Hint, environment};

/// Locks on entries that this process uses until it ends.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Things that were made once and are kept, each in a directory of its own under the digest of
/// what it was made from.
///
/// An entry appears under its name only when it is whole: it is made in a temporary directory
/// beside and renamed. A lock per entry lets two processes that want the same thing make it once.
#[derive(Debug, Clone)]
pub struct Store {
    root: Utf8PathBuf,
}

/// What a store has under a key.
#[derive(Debug)]
pub enum Entry {
    /// a whole entry
    Ready(Utf8PathBuf),
    /// nothing yet; the caller has the lock and makes it
    Vacant(Vacancy),
}

/// The right to make an entry, and the directory to make it in.
///
/// Dropped without [`Vacancy::commit`], it takes everything along.
#[derive(Debug)]
pub struct Vacancy {
    scratch: tempfile::TempDir,
    directory: Utf8PathBuf,
    target: Utf8PathBuf,
    _lock: File,
}

/// The store cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// neither `LOADGAUGE_CACHE`, `XDG_CACHE_HOME` nor `HOME` says where
    #[error("no place for the cache: neither LOADGAUGE_CACHE nor HOME is set to a path in UTF-8")]
    NoPlace,
}

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        Some(format!("set {} to a writable directory", environment::CACHE))
    }
}

impl Store {
    /// The store at `LOADGAUGE_CACHE`, or `loadgauge` in the user's cache directory.
    ///
    /// # Errors
    /// There is no home directory either.
    pub fn of_user() -> Result<Self, StoreError> {
        if let Some(path) = std::env::var_os(environment::CACHE).filter(|value| !value.is_empty()) {
            let path = Utf8PathBuf::from_path_buf(path.into()).map_err(|_| StoreError::NoPlace)?;
            return Ok(Self::at(path));
        }
        let base = etcetera::choose_base_strategy().map_err(|_| StoreError::NoPlace)?;
        let path = base.cache_dir().join("loadgauge");
        Ok(Self::at(Utf8PathBuf::from_path_buf(path).map_err(|_| StoreError::NoPlace)?))
    }

    /// A store at a given directory, which is made when first needed.
    pub fn at(root: impl Into<Utf8PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it lies.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Looks an entry up, and waits where another process is making it.
    ///
    /// `kind` is a plain word (`image`, `sysext`), `key` a digest in hex.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn entry(&self, kind: &str, key: &str) -> Result<Entry, StoreError> {
        let place = self.root.join(kind);
        let target = place.join(key);
        if target.is_dir() {
            note_use(&lock_of(&place, key));
            return Ok(Entry::Ready(target));
        }
        create_directory(&place)?;
        let lock = lock(&lock_of(&place, key), File::lock)?;
        if target.is_dir() {
            return Ok(Entry::Ready(target));
        }
        // Whoever held the lock before is gone: what it left half-made is nobody's.
        let prefix = half_made(key);
        sweep(&place, &prefix);
        let scratch = tempfile::Builder::new().prefix(&prefix).tempdir_in(&place).map_err(|source| {
            StoreError::Io { action: "create a directory in", path: place.clone(), source }
        })?;
        let directory =
            Utf8PathBuf::from_path_buf(scratch.path().to_owned()).map_err(|_| StoreError::NoPlace)?;
        Ok(Entry::Vacant(Vacancy { scratch, directory, target, _lock: lock }))
    }

    /// As [`Store::entry`]; and a whole entry is not removed, by whomever, until this process ends.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn entry_to_use(&self, kind: &str, key: &str) -> Result<Entry, StoreError> {
        let place = self.root.join(kind);
        let target = place.join(key);
        loop {
            if target.is_dir() {
                match lock(&lock_of(&place, key), File::lock_shared) {
                    Ok(held) if target.is_dir() => {
                        note_use(&lock_of(&place, key));
                        HELD.lock().unwrap_or_else(PoisonError::into_inner).push(held);
                        return Ok(Entry::Ready(target));
                    }
                    // It was removed in between.
                    Ok(_) => {}
                    // Nobody removes anything from a store that cannot be written.
                    Err(_) if target.is_dir() => return Ok(Entry::Ready(target)),
                    Err(error) => return Err(error),
                }
            }
            if let Entry::Vacant(vacancy) = self.entry(kind, key)? {
                return Ok(Entry::Vacant(vacancy));
            }
        }
    }
}

/// The file that whoever makes or removes an entry has locked alone, and whoever needs it to stay
/// together with others. When it was written last is when the entry was used last.
pub(super) fn lock_of(place: &Utf8Path, key: &str) -> Utf8PathBuf {
    place.join(format!(".{key}.lock"))
}

/// What the names of directories begin with in which an entry is made or removed.
pub(super) fn half_made(key: &str) -> String {
    format!(".{key}.making-")
}

/// Whether a lock is on the file that has this name now. Who removes an entry removes its lock.
pub(super) fn is_current(lock: &File, path: &Utf8Path) -> bool {
    let same =
        |one: &fs::Metadata, other: &fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    lock.metadata().is_ok_and(|ours| fs::metadata(path).is_ok_and(|now| same(&ours, &now)))
}

fn lock(path: &Utf8Path, take: impl Fn(&File) -> io::Result<()>) -> Result<File, StoreError> {
    let fail = |action| move |source| StoreError::Io { action, path: path.to_owned(), source };
    loop {
        let lock = File::create(path).map_err(fail("create"))?;
        take(&lock).map_err(fail("lock"))?;
        if is_current(&lock, path) {
            return Ok(lock);
        }
    }
}

/// Only the order of use is lost where this fails.
fn note_use(lock: &Utf8Path) {
    let touched =
        File::options().append(true).open(lock).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(path = %lock, %error, "the use of an entry cannot be noted");
    }
}

impl Vacancy {
    /// Where to make the entry; empty at first.
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// Puts the finished entry under its name and says where it lies now.
    ///
    /// # Errors
    /// The directory cannot be renamed.
    pub fn commit(self) -> Result<Utf8PathBuf, StoreError> {
        let fail = |source| StoreError::Io { action: "put in place", path: self.target.clone(), source };
        // tempdirs are private; an entry is for whoever may read the cache.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&self.directory, mode).map_err(fail)?;
        fs::rename(self.scratch.keep(), &self.target).map_err(fail)?;
        Ok(self.target)
    }
}

fn create_directory(path: &Utf8Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|source| StoreError::Io {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

/// Removes what an earlier, killed process was making.
pub(super) fn sweep(shelf: &Utf8Path, prefix: &str) {
    let Ok(entries) = shelf.read_dir_utf8() else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().starts_with(prefix)) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path(), %error, "cannot remove what was left half-made");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        (directory, Store::at(path))
    }

    #[test]
    fn an_entry_is_there_whole_or_not_at_all() {
        let (_directory, store) = store();
        let Ok(Entry::Vacant(vacancy)) = store.entry("thing", "1") else { panic!("not vacant") };
        fs::write(vacancy.directory().join("file"), "half").expect("written");
        drop(vacancy);
        let Ok(Entry::Vacant(vacancy)) = store.entry("thing", "1") else { panic!("half an entry stayed") };
        fs::write(vacancy.directory().join("file"), "whole").expect("written");
        let path = vacancy.commit().expect("committed");
        assert_eq!(fs::read_to_string(path.join("file")).expect("read"), "whole");
        assert!(matches!(store.entry("thing", "1"), Ok(Entry::Ready(ready)) if ready == path));
    }
}
