// SPDX-License-Identifier: Apache-2.0
//! Removes the directories of harnesses that no longer run.
//!
//! A killed harness leaves nothing: the kernel kills its machines, and a shell removes the directory.
//! After a crash of the host neither of them runs, so the next harness removes what is left. A lock file
//! in the directory, which the kernel unlocks when a process dies, shows whether it is in use. A directory
//! without a lock file is not touched.
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};

/// The prefix of the names of these directories.
pub(super) const PREFIX: &str = "loadgauge-";
/// The name of the lock file.
const LOCK: &str = "lock";

/// Marks a directory as in use by this process, as long as the returned file is open.
pub(super) fn claim(directory: &Utf8Path) -> Result<File, FileError> {
    // The file is locked before it gets its name: a sweep in between would find it unlocked.
    let fresh = directory.join(format!(".{LOCK}"));
    let file = fs::create(&fresh)?;
    file.try_lock().map_err(io::Error::from).map_err(FileError::at("lock", &fresh))?;
    fs::rename(&fresh, directory.join(LOCK))?;
    Ok(file)
}

/// Removes the directories in a directory for temporary files whose harness no longer runs.
pub(super) fn sweep(parent: &Path) {
    let own = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let named = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        // Links are not followed: any user may create one in a shared directory.
        let ours = || entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == own);
        if named && ours() && is_stale(&entry.path()) {
            tracing::info!(path = %entry.path().display(), "removing the directory of a dead harness");
            if let Err(error) = fs::remove_dir_all(entry.path())
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "cannot remove the directory of a dead harness");
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
