// SPDX-License-Identifier: Apache-2.0
//! The files of a base and the packages that own them.
//!
//! A package that contains a file of another package hides it once the extension is merged. dpkg and Portage
//! (its feature `protect-owned`) refuse to install such a package, and so does a build.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use globset::GlobSet;
use loadgauge_host::{FileError, Hint, fs};

use crate::globs;
use crate::member::merge_usr;
use crate::stage::{NodeKind, Staged};

/// The directory of dpkg's lists of files, relative to a root.
pub(crate) const DPKG_LISTS: &str = "var/lib/dpkg/info";
/// Limit of a list in bytes; the longest have a few megabytes.
const MAXIMUM_LIST: u64 = 256 << 20;
/// Limit of the files in an error.
const MAXIMUM_FILES: usize = 10;

/// The files of a base by path relative to the root, with the package that owns each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnedFiles(BTreeMap<Utf8PathBuf, String>);

/// Packages that contain files of other packages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CollisionError {
    /// the path, the package file that contains it, and the package of the base that owns it
    pub files: Vec<(Utf8PathBuf, String, String)>,
}

impl fmt::Display for CollisionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("packages of the base own files of the extension:")?;
        for (path, package, owner) in self.files.iter().take(MAXIMUM_FILES) {
            write!(formatter, "\n  /{path} of {package} is owned by {owner}")?;
        }
        let more = self.files.len().saturating_sub(MAXIMUM_FILES);
        if more == 0 { Ok(()) } else { write!(formatter, "\n  and {more} more") }
    }
}

impl Hint for CollisionError {
    fn hint(&self) -> Option<String> {
        Some(
            "leave the files out with `exclude`, or list them in `collision-ignore` if they are to hide those \
             of the base"
                .to_owned(),
        )
    }
}

impl OwnedFiles {
    /// Reads dpkg's lists in a directory, `NAME.list` or `NAME:ARCHITECTURE.list`; empty where there is no
    /// such directory.
    ///
    /// # Errors
    /// A list cannot be read.
    pub(crate) fn of_dpkg(directory: &Utf8Path) -> Result<Self, FileError> {
        let mut owned = Self::default();
        let Ok(entries) = directory.read_dir_utf8() else { return Ok(owned) };
        for entry in entries {
            let entry = entry.map_err(FileError::at("list", directory))?;
            let Some(name) = entry.file_name().strip_suffix(".list") else { continue };
            let package = name.split(':').next().unwrap_or(name);
            owned.add(package, read_list(entry.path())?.lines());
        }
        Ok(owned)
    }

    /// Adds files of a package, by absolute paths.
    fn add<'a>(&mut self, package: &str, paths: impl Iterator<Item = &'a str>) {
        for path in paths {
            let path = merge_usr(Utf8Path::new(path.trim_start_matches('/')));
            self.0.insert(path, package.to_owned());
        }
    }

    /// Adds the files in Portage's `CONTENTS` of a package.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn add_portage_contents(&mut self, package: &str, file: &Utf8Path) -> Result<(), FileError> {
        if fs::symlink_metadata(file).is_ok_and(|metadata| metadata.is_file()) {
            self.add(package, read_list(file)?.lines().filter_map(path_in_contents));
        }
        Ok(())
    }

    /// Removes the files that a predicate does not hold for.
    pub(crate) fn retain(&mut self, mut predicate: impl FnMut(&Utf8Path) -> bool) {
        self.0.retain(|path, _| predicate(path));
    }

    /// Checks the files of packages in a tree, given by the names of the package files. Files of owners for
    /// which `may_replace` holds with the package file, and files that a glob matches, are left out.
    ///
    /// # Errors
    /// Another package owns a file.
    pub(crate) fn check(
        &self,
        staged: &Staged,
        packages: &BTreeSet<String>,
        may_replace: &dyn Fn(&str, &str) -> bool,
        ignored: &GlobSet,
    ) -> Result<(), CollisionError> {
        let mut files = Vec::new();
        for (path, node) in staged.nodes().filter(|(_, node)| node.kind != NodeKind::Directory) {
            let package = node.origin.as_ref();
            if let (true, Some(owner)) = (packages.contains(package), self.0.get(path))
                && !may_replace(package, owner)
                && !globs::matches(ignored, path)
            {
                files.push((path.to_owned(), package.to_owned(), owner.clone()));
            }
        }
        if files.is_empty() { Ok(()) } else { Err(CollisionError { files }) }
    }
}

/// The path in a line of `CONTENTS`: `obj /usr/bin/x MD5 TIME`, `sym /usr/bin/y -> x TIME`.
fn path_in_contents(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix("obj ") {
        // A path can contain blanks.
        return rest.rsplitn(3, ' ').nth(2);
    }
    Some(line.strip_prefix("sym ")?.split_once(" -> ")?.0)
}

fn read_list(path: &Utf8Path) -> Result<String, FileError> {
    let mut bytes = Vec::new();
    fs::open(path)?.take(MAXIMUM_LIST).read_to_end(&mut bytes).map_err(FileError::at("read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use globset::{Glob, GlobSetBuilder};

    use super::*;

    #[test]
    fn lines_of_contents_are_parsed() {
        let paths: Vec<_> = [
            "dir /usr/bin",
            "obj /usr/bin/a b 0cc175b9c0f1b6a831c399e269772661 1700000000",
            "sym /usr/bin/sh -> bash 1700000000",
            "obj broken",
        ]
        .into_iter()
        .filter_map(path_in_contents)
        .collect();
        assert_eq!(paths, ["/usr/bin/a b", "/usr/bin/sh"]);
    }

    #[test]
    fn files_of_other_packages_are_found() {
        let directory = tempfile::tempdir().expect("a directory");
        let lists = Utf8Path::from_path(directory.path()).expect("UTF-8");
        fs::write(lists.join("bash.list"), "/.\n/bin\n/bin/bash\n/usr/bin/bashbug\n").expect("written");
        fs::write(lists.join("libc6:amd64.list"), "/lib/x86_64-linux-gnu/libc.so.6\n").expect("written");
        fs::write(lists.join("bash.md5sums"), "nothing").expect("written");
        let owned = OwnedFiles::of_dpkg(lists).expect("read");
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let package: Arc<str> = Arc::from("other_1_amd64.deb");
        for path in ["usr/bin/bash", "usr/bin/other", "usr/lib/x86_64-linux-gnu/libc.so.6"] {
            staged.put_file(Utf8Path::new(path), 0o755, &mut &b"x"[..], &package).expect("a file");
        }
        let script: Arc<str> = Arc::from("the script");
        staged.put_file(Utf8Path::new("usr/bin/bashbug"), 0o755, &mut &b"x"[..], &script).expect("a file");
        let packages = BTreeSet::from([package.to_string()]);
        let check = |may_replace: &dyn Fn(&str, &str) -> bool, glob: &str| {
            let globs = GlobSetBuilder::new().add(Glob::new(glob).expect("a glob")).build().expect("globs");
            owned.check(&staged, &packages, may_replace, &globs)
        };
        let error = check(&|_, _| false, "/none").expect_err("two files");
        assert_eq!(
            error.to_string(),
            "packages of the base own files of the extension:\n  \
             /usr/bin/bash of other_1_amd64.deb is owned by bash\n  \
             /usr/lib/x86_64-linux-gnu/libc.so.6 of other_1_amd64.deb is owned by libc6"
        );
        assert_eq!(check(&|_, owner| owner == "libc6", "/usr/bin/*"), Ok(()));
    }
}
