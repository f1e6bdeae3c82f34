// SPDX-License-Identifier: Apache-2.0
//! Directories for files that nobody needs after this process.
//!
//! They are removed when they are dropped, and by `children` when the process ends in
//! another way. After a crash of the host [`sweep`] removes what is left: a lock file in each directory, which
//! the kernel unlocks when a process dies, shows whether it is in use. A directory without a lock file is not
//! touched.
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;

use crate::{FileError, children, fs};

/// The prefix of the names of these directories.
const PREFIX: &str = "loadgauge-";
/// The name of the lock file.
const LOCK: &str = "lock";

/// A private directory that ends with its owner.
#[derive(Debug)]
pub struct Scratch {
    directory: Option<TempDir>,
    path: Utf8PathBuf,
    /// shows other processes that the directory is in use
    lock: Option<File>,
}

impl Scratch {
    /// Makes a directory among the temporary files of the host.
    ///
    /// # Errors
    /// The directory cannot be made, or its path is not UTF-8.
    pub fn new() -> Result<Self, FileError> {
        Self::new_in(&std::env::temp_dir())
    }

    /// Makes a directory among the temporary files in another directory.
    ///
    /// # Errors
    /// As [`Scratch::new`].
    pub fn new_in(parent: &Path) -> Result<Self, FileError> {
        let mut scratch = Self::make(parent, PREFIX)?;
        scratch.lock = Some(claim(&scratch.path)?);
        Ok(scratch)
    }

    /// Makes a directory that the caller's own lock protects.
    ///
    /// # Errors
    /// As [`Scratch::new`].
    pub(crate) fn make(parent: &Path, prefix: &str) -> Result<Self, FileError> {
        let failed = |error| FileError::at("create a directory in", parent)(error);
        let private = Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(private)
            .tempdir_in(parent)
            .map_err(failed)?;
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned())
            .map_err(|_| failed(io::ErrorKind::InvalidFilename.into()))?;
        children::own_directory(directory.path());
        Ok(Self { directory: Some(directory), path, lock: None })
    }

    /// Returns the path.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Renames the directory to a name under which it stays.
    ///
    /// # Errors
    /// It cannot be renamed; it is removed then.
    pub(crate) fn keep_as(mut self, target: &Utf8Path) -> Result<(), FileError> {
        fs::rename(&self.path, target)?;
        if let Some(directory) = self.directory.take() {
            let _ = directory.keep();
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.directory.take().map(TempDir::close) {
            tracing::warn!(path = %self.path, %error, "cannot remove a directory of temporary files");
        }
        children::disown_directory(self.path.as_std_path());
    }
}

/// Marks a directory as in use by this process, as long as the returned file is open.
///
/// # Errors
/// The lock file cannot be made.
fn claim(directory: &Utf8Path) -> Result<File, FileError> {
    // The file is locked before it gets its name: a sweep in between would find it unlocked.
    let fresh = directory.join(format!(".{LOCK}"));
    let file = fs::create(&fresh)?;
    file.try_lock().map_err(io::Error::from).map_err(FileError::at("lock", &fresh))?;
    fs::rename(&fresh, directory.join(LOCK))?;
    Ok(file)
}

/// Removes the directories in a directory for temporary files whose process no longer runs.
pub fn sweep(parent: &Path) {
    let own = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let named = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        // Links are not followed: any user may create one in a shared directory.
        let ours = || entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == own);
        if named && ours() && is_stale(&entry.path()) {
            tracing::info!(path = %entry.path().display(), "removing the directory of a dead process");
            if let Err(error) = fs::remove_dir_all(entry.path())
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "cannot remove the directory of a dead process");
            }
        }
    }
}

/// Whether a directory has a lock file that no process has locked.
fn is_stale(directory: &Path) -> bool {
    fs::open(directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}
#[cfg(test)]
mod tests {
    use super::*;

    fn directory(parent: &Utf8Path, name: &str) -> camino::Utf8PathBuf {
        let path = parent.join(name);
        fs::create_dir(&path).expect("made");
        fs::write(path.join("disk.qcow2"), "x").expect("written");
        path
    }

    #[test]
    fn only_a_directory_with_an_unlocked_lock_file_is_removed() {
        let scratch = tempfile::tempdir().expect("a directory");
        let parent = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let (dead, alive) = (directory(parent, "loadgauge-dead"), directory(parent, "loadgauge-alive"));
        let (foreign, unmarked) = (directory(parent, "other"), directory(parent, "loadgauge-unmarked"));
        drop(claim(&dead).expect("claimed"));
        drop(claim(&foreign).expect("claimed"));
        let held = claim(&alive).expect("claimed");
        std::os::unix::fs::symlink(&dead, parent.join("loadgauge-link")).expect("linked");
        sweep(parent.as_std_path());
        assert!(!dead.exists(), "its harness is dead");
        assert!(alive.exists() && foreign.exists() && unmarked.exists());
        drop(held);
        sweep(parent.as_std_path());
        assert!(!alive.exists(), "its harness has ended as well");
    }
}
