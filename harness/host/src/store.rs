// SPDX-License-Identifier: Apache-2.0
use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use etcetera::BaseStrategy as _;

use crate::{FileError, Hint, Scratch, environment, fs};

/// Entries that this process uses until it exits.
static IN_USE: Mutex<Vec<EntryInUse>> = Mutex::new(Vec::new());

/// A cache of artefacts, each in a directory named after the digest of its inputs.
///
/// An entry appears under its name only when it is complete: a process makes it in a temporary directory
/// next to it and renames that.
///
/// Each entry has a lock file, which the kernel unlocks when a process exits. A process takes an
/// exclusive lock to make or remove the entry, so that concurrent processes make each entry once. A
/// shared lock keeps the entry from being removed. The lock file's modification time is the time of the
/// entry's last use.
#[derive(Debug, Clone)]
pub struct Store {
    root: Utf8PathBuf,
}

/// The result of [`Store::entry`].
#[derive(Debug)]
pub enum Entry {
    /// the directory of a complete entry
    Ready(Utf8PathBuf),
    /// no entry; the caller holds the lock and makes it
    Vacant(Vacancy),
}

/// The result of [`Store::try_entry`].
#[derive(Debug)]
pub enum TryEntry<T> {
    /// a complete entry, and what `read` returned for it
    Ready(EntryInUse, T),
    /// no usable entry; the caller holds the lock and makes it
    Vacant(Vacancy),
    /// another process or task makes or removes the entry
    Busy,
}

/// A complete entry that no process removes as long as this value exists.
#[derive(Debug)]
pub struct EntryInUse {
    path: Utf8PathBuf,
    _lock: File,
}

/// The right to make an entry, with an empty directory to make it in.
///
/// Dropping it without [`Vacancy::commit`] removes the directory.
#[derive(Debug)]
pub struct Vacancy {
    scratch: Scratch,
    target: Utf8PathBuf,
    lock: File,
}

/// The store cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// neither `LOADGAUGE_CACHE`, `XDG_CACHE_HOME` nor `HOME` is usable
    #[error("cannot choose a cache directory: neither LOADGAUGE_CACHE nor HOME is a path in UTF-8")]
    NoDirectory,
}

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        let of_file = if let Self::File(error) = self { error.hint() } else { None };
        of_file.or_else(|| Some(format!("set {} to a writable directory", environment::CACHE)))
    }
}

impl Store {
    /// Opens the store in `LOADGAUGE_CACHE`, or else in `loadgauge` in the user's cache directory.
    ///
    /// # Errors
    /// No home directory is known, or a path is not UTF-8.
    pub fn of_user() -> Result<Self, StoreError> {
        if let Some(path) = std::env::var_os(environment::CACHE).filter(|value| !value.is_empty()) {
            let path = Utf8PathBuf::from_path_buf(path.into()).map_err(|_| StoreError::NoDirectory)?;
            return Ok(Self::at(path));
        }
        let base = etcetera::choose_base_strategy().map_err(|_| StoreError::NoDirectory)?;
        let path = base.cache_dir().join("loadgauge");
        Ok(Self::at(Utf8PathBuf::from_path_buf(path).map_err(|_| StoreError::NoDirectory)?))
    }

    /// Uses a directory as the store, and creates it at the first use.
    pub fn at(root: impl Into<Utf8PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the store's directory.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Looks up an entry, and waits while another process makes it.
    ///
    /// `kind` is a lower-case word (`image`, `sysext`) and `key` a digest in hex.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn entry(&self, kind: &str, key: &str) -> Result<Entry, StoreError> {
        let parent = self.root.join(kind);
        let target = parent.join(key);
        if target.is_dir() {
            note_use(&lock_path(&parent, key));
            return Ok(Entry::Ready(target));
        }
        fs::create_dir_all(&parent)?;
        let lock = wait_for_lock(&lock_path(&parent, key), File::lock)?;
        if target.is_dir() {
            return Ok(Entry::Ready(target));
        }
        Ok(Entry::Vacant(Vacancy::new(&parent, key, lock)?))
    }

    /// Looks up an entry like [`Store::entry`], and keeps it from being removed until this process
    /// exits.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn entry_to_use(&self, kind: &str, key: &str) -> Result<Entry, StoreError> {
        let parent = self.root.join(kind);
        let target = parent.join(key);
        loop {
            if target.is_dir() {
                match wait_for_lock(&lock_path(&parent, key), File::lock_shared) {
                    Ok(lock) if target.is_dir() => {
                        note_use(&lock_path(&parent, key));
                        let in_use = EntryInUse { path: target.clone(), _lock: lock };
                        IN_USE.lock().unwrap_or_else(PoisonError::into_inner).push(in_use);
                        return Ok(Entry::Ready(target));
                    }
                    // Another process removed the entry in the meantime.
                    Ok(_) => {}
                    // No process can remove anything from a store that cannot be written.
                    Err(_) if target.is_dir() => return Ok(Entry::Ready(target)),
                    Err(error) => return Err(error),
                }
            }
            if let Entry::Vacant(vacancy) = self.entry(kind, key)? {
                return Ok(Entry::Vacant(vacancy));
            }
        }
    }

    /// Looks up an entry without waiting, and keeps it from being removed as long as the result exists.
    ///
    /// If `read` returns nothing, the entry is unusable: it is removed, and the caller makes it again.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn try_entry<T>(
        &self,
        kind: &str,
        key: &str,
        read: impl Fn(&Utf8Path) -> Option<T>,
    ) -> Result<TryEntry<T>, StoreError> {
        let parent = self.root.join(kind);
        let target = parent.join(key);
        fs::create_dir_all(&parent)?;
        let Some(lock) = try_lock(&parent, key, File::try_lock_shared)? else { return Ok(TryEntry::Busy) };
        if let Some(content) = read(&target) {
            note_use(&lock_path(&parent, key));
            return Ok(TryEntry::Ready(EntryInUse { path: target, _lock: lock }, content));
        }
        drop(lock);
        let Some(lock) = try_lock(&parent, key, File::try_lock)? else { return Ok(TryEntry::Busy) };
        if read(&target).is_some() {
            // Another process made the entry in the meantime.
            return Ok(TryEntry::Busy);
        }
        remove_directory(&parent, key)?;
        Ok(TryEntry::Vacant(Vacancy::new(&parent, key, lock)?))
    }

    /// Whether an entry is being used, made or removed. Nothing is written: an entry without a lock file is not
    /// in use.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn is_in_use(&self, kind: &str, key: &str) -> Result<bool, StoreError> {
        let path = lock_path(&self.root.join(kind), key);
        let lock = match fs::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        match lock.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(FileError::at("lock", &path)(error).into()),
        }
    }

    /// Removes an entry in one step, unless it is in use, and returns whether it removed one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn discard(&self, kind: &str, key: &str) -> Result<bool, StoreError> {
        let parent = self.root.join(kind);
        let Some(_lock) = try_lock(&parent, key, File::try_lock)? else { return Ok(false) };
        if !remove_directory(&parent, key)? {
            return Ok(false);
        }
        fs::remove_file(lock_path(&parent, key))?;
        Ok(true)
    }
}

impl EntryInUse {
    /// Returns the entry's directory.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}

impl Vacancy {
    /// Creates the temporary directory of an entry whose lock the caller holds.
    fn new(parent: &Utf8Path, key: &str, lock: File) -> Result<Self, StoreError> {
        let prefix = incomplete_prefix(key);
        // The previous holder of the lock has exited, so its incomplete directories have no owner.
        remove_incomplete(parent, &prefix);
        let scratch = Scratch::make(parent.as_std_path(), &prefix)?;
        Ok(Self { scratch, target: parent.join(key), lock })
    }

    /// Returns the directory in which to make the entry, which is empty at first.
    pub fn directory(&self) -> &Utf8Path {
        self.scratch.path()
    }

    /// Renames the complete entry to its name, readable by every user, and returns its directory.
    ///
    /// # Errors
    /// The directory cannot be renamed.
    pub fn commit(self) -> Result<Utf8PathBuf, StoreError> {
        // Temporary directories are private.
        fs::set_permissions(self.scratch.path(), PermissionsExt::from_mode(0o755))?;
        self.scratch.keep_as(&self.target)?;
        Ok(self.target)
    }

    /// Renames the complete entry to its name, readable only by its owner, and keeps it in use.
    ///
    /// # Errors
    /// The directory cannot be renamed.
    pub fn commit_in_use(self) -> Result<EntryInUse, StoreError> {
        self.scratch.keep_as(&self.target)?;
        // The lock file may be that of an earlier entry.
        let _ = self.lock.set_modified(SystemTime::now());
        // This is not atomic: if another process removes the entry in between, its next use fails.
        self.lock.lock_shared().map_err(FileError::at("lock", &self.target))?;
        Ok(EntryInUse { path: self.target, _lock: self.lock })
    }
}

/// Returns the path of an entry's lock file.
pub(super) fn lock_path(parent: &Utf8Path, key: &str) -> Utf8PathBuf {
    parent.join(format!(".{key}.lock"))
}

/// Returns the prefix of temporary directories in which an entry is made or removed.
pub(super) fn incomplete_prefix(key: &str) -> String {
    format!(".{key}{INCOMPLETE}")
}

/// The separator after the key in the names of temporary directories.
pub(super) const INCOMPLETE: &str = ".making-";

/// Whether an open lock file still has its name; discarding an entry removes its lock file.
fn is_current(lock: &File, path: &Utf8Path) -> bool {
    let same = |one: &Metadata, other: &Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    lock.metadata().is_ok_and(|ours| fs::metadata(path).is_ok_and(|now| same(&ours, &now)))
}

/// Locks an entry, and waits for other processes.
fn wait_for_lock(path: &Utf8Path, acquire: impl Fn(&File) -> io::Result<()>) -> Result<File, StoreError> {
    loop {
        let lock = fs::create(path)?;
        acquire(&lock).map_err(FileError::at("lock", path))?;
        if is_current(&lock, path) {
            return Ok(lock);
        }
    }
}

/// Locks an entry, or returns nothing if another process has locked it.
pub(super) fn try_lock(
    parent: &Utf8Path,
    key: &str,
    acquire: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<Option<File>, StoreError> {
    let path = lock_path(parent, key);
    // Truncating would change the modification time, which is the time of the last use.
    let lock = File::options().append(true).create(true).open(&path).map_err(FileError::at("open", &path))?;
    match acquire(&lock) {
        Ok(()) => Ok(is_current(&lock, &path).then_some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(FileError::at("lock", &path)(error).into()),
    }
}

/// Sets the time of an entry's last use; a failure affects only the order of removal.
fn note_use(lock: &Utf8Path) {
    let touched =
        File::options().append(true).open(lock).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(path = %lock, %error, "cannot record the use of an entry");
    }
}

/// Removes the directory of an entry whose lock the caller holds, in one step for other processes.
fn remove_directory(parent: &Utf8Path, key: &str) -> Result<bool, StoreError> {
    let aside = parent.join(format!("{}removed", incomplete_prefix(key)));
    if aside.exists() {
        // A process exited while it removed an earlier entry.
        fs::remove_dir_all(&aside)?;
    }
    match fs::rename(parent.join(key), &aside) {
        Ok(()) => {
            fs::remove_dir_all(&aside)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes temporary directories of processes that have exited.
pub(super) fn remove_incomplete(parent: &Utf8Path, prefix: &str) {
    let Ok(entries) = parent.read_dir_utf8() else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().starts_with(prefix)) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path(), %error, "cannot remove an incomplete entry");
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
    fn an_incomplete_entry_never_appears() {
        let (_directory, store) = store();
        let Ok(Entry::Vacant(vacancy)) = store.entry("thing", "1") else { panic!("not vacant") };
        fs::write(vacancy.directory().join("file"), "incomplete").expect("written");
        drop(vacancy);
        let Ok(Entry::Vacant(vacancy)) = store.entry("thing", "1") else {
            panic!("an incomplete entry appeared")
        };
        fs::write(vacancy.directory().join("file"), "complete").expect("written");
        let path = vacancy.commit().expect("committed");
        assert_eq!(fs::read_to_string(path.join("file")).expect("read"), "complete");
        assert!(matches!(store.entry("thing", "1"), Ok(Entry::Ready(ready)) if ready == path));
    }

    /// Reads an entry, which is usable if it contains a file.
    fn read(directory: &Utf8Path) -> Option<String> {
        fs::read_to_string(directory.join("file")).ok()
    }

    fn vacancy(store: &Store, key: &str) -> Vacancy {
        match store.try_entry("thing", key, read).expect("the store can be written") {
            TryEntry::Vacant(vacancy) => vacancy,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_caller_makes_an_entry_and_the_others_share_it() {
        let (_directory, store) = store();
        let first = vacancy(&store, "1");
        assert!(matches!(store.try_entry("thing", "1", read), Ok(TryEntry::Busy)), "it is being made");
        drop(vacancy(&store, "2"));
        fs::write(first.directory().join("file"), "complete").expect("written");
        let in_use = first.commit_in_use().expect("committed");
        let Ok(TryEntry::Ready(also, content)) = store.try_entry("thing", "1", read) else {
            panic!("not shared")
        };
        assert_eq!((also.path(), content.as_str()), (in_use.path(), "complete"));
        drop(in_use);
        assert!(store.is_in_use("thing", "1").expect("known"));
        assert!(!store.discard("thing", "1").expect("the store can be written"));
        drop(also);
        assert!(!store.is_in_use("thing", "1").expect("known"));
        assert!(store.discard("thing", "1").expect("the store can be written"));
        assert!(!store.discard("thing", "1").expect("the store can be written"), "it is gone");
    }

    #[test]
    fn an_unusable_entry_is_made_anew() {
        let (_directory, store) = store();
        let path = vacancy(&store, "1").commit().expect("committed");
        fs::write(path.join("other"), "x").expect("written");
        let vacancy = vacancy(&store, "1");
        assert!(!path.exists(), "it was removed");
        assert_eq!(vacancy.directory().read_dir_utf8().expect("listed").count(), 0);
    }
}
