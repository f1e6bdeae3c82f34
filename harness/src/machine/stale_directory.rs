// SPDX-License-Identifier: Apache-2.0
//! Directories of machines whose harness is no more.
//!
//! A killed harness leaves nothing: the kernel ends its machines, and a shell removes the directory.
//! When the host itself crashes, neither gets its turn; then the next harness removes what is left.
//! Whether a directory is in use is told by a lock in it, which ends with the process that holds it,
//! whatever became of that process. One without a lock is nobody's business.
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use camino::Utf8Path;

/// What the names of all such directories begin with.
pub(super) const PREFIX: &str = "loadgauge-";
/// The file in them that is locked.
const LOCK: &str = "lock";

/// Marks a directory as this process's for as long as the value lives.
pub(super) fn claim(directory: &Utf8Path) -> io::Result<File> {
    // Made locked under another name: else a sweep between the two steps would take it for dead.
    let fresh = directory.join(format!(".{LOCK}"));
    let file = File::create(&fresh)?;
    file.try_lock()?;
    fs::rename(&fresh, directory.join(LOCK))?;
    Ok(file)
}

/// Removes the directories in a place for temporary files whose harness is dead.
pub(super) fn sweep(place: &Path) {
    let own = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let named = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        // Not followed: whoever may write to the place could have made a link to anything.
        let ours = || entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == own);
        if named && ours() && is_dead(&entry.path()) {
            tracing::info!(path = %entry.path().display(), "removing what a dead harness left");
            if let Err(error) = fs::remove_dir_all(entry.path())
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %entry.path().display(), %error, "cannot remove what a dead harness left");
            }
        }
    }
}

/// Whether nobody holds the lock in a directory that has one.
fn is_dead(directory: &Path) -> bool {
    File::open(directory.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(place: &Utf8Path, name: &str) -> camino::Utf8PathBuf {
        let path = place.join(name);
        fs::create_dir(&path).expect("made");
        fs::write(path.join("disk.qcow2"), "x").expect("written");
        path
    }

    #[test]
    fn only_what_has_a_lock_that_nobody_holds_is_removed() {
        let scratch = tempfile::tempdir().expect("a directory");
        let place = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let (dead, alive) = (made(place, "loadgauge-dead"), made(place, "loadgauge-alive"));
        let (foreign, unmarked) = (made(place, "other"), made(place, "loadgauge-unmarked"));
        drop(claim(&dead).expect("claimed"));
        drop(claim(&foreign).expect("claimed"));
        let held = claim(&alive).expect("claimed");
        std::os::unix::fs::symlink(&dead, place.join("loadgauge-link")).expect("linked");
        sweep(place.as_std_path());
        assert!(!dead.exists(), "its harness is dead");
        assert!(alive.exists() && foreign.exists() && unmarked.exists());
        drop(held);
        sweep(place.as_std_path());
        assert!(!alive.exists(), "now it is dead as well");
    }
}
