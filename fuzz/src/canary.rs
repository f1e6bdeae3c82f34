// SPDX-License-Identifier: Apache-2.0
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::fs;

/// The name of a file that does not exist in a canary.
pub(crate) const MADE: &str = "made";
/// The name of a file that exists in a canary.
pub(crate) const KEPT: &str = "kept";

/// A directory tree beside the ones that targets work in, which no input may change.
#[derive(Debug)]
pub(crate) struct Canary {
    root: Utf8PathBuf,
    before: Vec<String>,
    /// held while a target uses the canary of this process
    guard: Option<MutexGuard<'static, ()>>,
}

impl Canary {
    /// Returns the directory of this process's canary, to which the names in hostile inputs lead.
    pub(crate) fn directory() -> Utf8PathBuf {
        let directory = std::env::temp_dir().join(format!("loadgauge-fuzz-{}", std::process::id()));
        Utf8PathBuf::from_path_buf(directory).expect("UTF-8")
    }

    /// Creates the canary of this process, which one target at a time uses.
    pub(crate) fn of_process() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut canary = Self::new(&Self::directory());
        canary.guard = Some(guard);
        canary
    }

    /// Creates files in a directory, or replaces those that are there.
    fn new(root: &Utf8Path) -> Self {
        if root.exists() {
            fs::remove_dir_all(root).expect("removed");
        }
        fs::create_dir_all(root.join("directory")).expect("created");
        for path in [KEPT, "directory/file"] {
            fs::write(root.join(path), "unchanged").expect("written");
        }
        fs::set_permissions(root.join(KEPT), std::fs::Permissions::from_mode(0o600)).expect("set");
        fs::symlink(KEPT, root.join("link")).expect("linked");
        Self { root: root.to_owned(), before: state(root), guard: None }
    }

    /// Checks that nothing has changed.
    ///
    /// # Panics
    /// A file was created, removed, written, or got other permissions, owners or links.
    pub(crate) fn check(&self) {
        assert_eq!(state(&self.root), self.before, "nothing is changed outside");
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Describes every file of a tree with its metadata and content. The time of the last change of an inode
/// shows changes of metadata, too.
fn state(root: &Utf8Path) -> Vec<String> {
    let describe = |entry: walkdir::DirEntry| {
        let metadata = entry.path().symlink_metadata().expect("there");
        let content = if metadata.is_file() { fs::read(entry.path()).expect("read") } else { Vec::new() };
        let (owner, changed) = ((metadata.uid(), metadata.gid()), (metadata.ctime(), metadata.ctime_nsec()));
        let (mode, links) = (metadata.mode(), metadata.nlink());
        format!("{:?} {mode:o} {owner:?} {links} {changed:?} {content:?}", entry.path())
    };
    let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter();
    entries.map(|entry| entry.map_or_else(|error| error.to_string(), describe)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn every_change_is_noticed() {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(scratch.path()).expect("UTF-8").join("canary");
        let changes: [(&str, &dyn Fn()); 8] = [
            ("a new file", &|| fs::write(root.join(MADE), "").expect("written")),
            ("a new directory", &|| fs::create_dir(root.join("directory/new")).expect("created")),
            ("the same content", &|| fs::write(root.join(KEPT), "unchanged").expect("written")),
            ("another mode", &|| {
                let mode = std::fs::Permissions::from_mode(0o644);
                fs::set_permissions(root.join("directory/file"), mode).expect("set");
            }),
            ("a hard link", &|| fs::hard_link(root.join(KEPT), root.with_extension("hard")).expect("linked")),
            ("a removed file", &|| fs::remove_file(root.join("link")).expect("removed")),
            ("a replaced file", &|| {
                fs::write(root.with_extension("new"), "unchanged").expect("written");
                fs::rename(root.with_extension("new"), root.join(KEPT)).expect("renamed");
            }),
            ("a removed tree", &|| fs::remove_dir_all(&root).expect("removed")),
        ];
        for (name, change) in changes {
            let canary = Canary::new(&root);
            canary.check();
            // The clock of a file system may be coarse.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change();
            assert!(catch_unwind(AssertUnwindSafe(|| canary.check())).is_err(), "{name}");
        }
    }
}
