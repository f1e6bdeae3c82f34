// SPDX-License-Identifier: Apache-2.0
//! Portage's database of installed packages, `/var/db/pkg`.
use std::fs::{self, File};
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::index::Metadata;
use super::package::{Package, PackageError};

/// Where the database lies, relative to the root.
pub const PLACE: &str = "var/db/pkg";

/// What is read of each package. The rest (`CONTENTS`, `environment.bz2` ..) is large and says
/// nothing of what needs what.
const KEYS: [&str; 12] = [
    "SLOT",
    "USE",
    "IUSE",
    "IUSE_EFFECTIVE",
    "RDEPEND",
    "PDEPEND",
    "IDEPEND",
    "repository",
    "BUILD_ID",
    "BUILD_TIME",
    "LICENSE",
    "DESCRIPTION",
];
/// Bytes of one value: the longest of Gentoo's are some tens of kilobytes.
const MAXIMUM_VALUE: u64 = 4 << 20;

/// A database that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// a file operation failed
    #[error("cannot read `{path}`")]
    Read {
        /// which
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// a package in it cannot be read
    #[error("cannot read the installed package `{path}`")]
    Package {
        /// its directory
        path: Utf8PathBuf,
        /// why not
        source: PackageError,
    },
}

/// Reads the installed packages of a database, a directory `CATEGORY/NAME-VERSION` for each.
///
/// What Portage leaves half-done while it merges (`-MERGING-*`) and lock files are passed over, and
/// symbolic links are not followed.
///
/// # Errors
/// See [`DatabaseError`].
pub fn read(directory: &Utf8Path) -> Result<Vec<Package>, DatabaseError> {
    let mut packages = Vec::new();
    for category in directories(directory)? {
        for place in directories(&directory.join(&category))? {
            if place.starts_with('-') {
                continue;
            }
            let path = directory.join(&category).join(&place);
            let metadata = read_values(&path)?;
            let package = Package::read(&format!("{category}/{place}"), &metadata)
                .map_err(|source| DatabaseError::Package { path, source })?;
            packages.push(package);
        }
    }
    Ok(packages)
}

/// Names of the directories in a directory, sorted.
fn directories(path: &Utf8Path) -> Result<Vec<String>, DatabaseError> {
    let fail = |source| DatabaseError::Read { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in path.read_dir_utf8().map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_type().map_err(fail)?.is_dir() && !entry.file_name().starts_with('.') {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn read_values(directory: &Utf8Path) -> Result<Metadata, DatabaseError> {
    let mut metadata = Metadata::new();
    for key in KEYS {
        let path = directory.join(key);
        let fail = |source| DatabaseError::Read { path: path.clone(), source };
        // Absent is what is empty.
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let mut value = String::new();
        File::open(&path)
            .and_then(|file| file.take(MAXIMUM_VALUE).read_to_string(&mut value))
            .map_err(fail)?;
        metadata.insert(key.to_owned(), value.trim().to_owned());
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Utf8Path, package: &str, values: &[(&str, &str)]) {
        let path = root.join(package);
        fs::create_dir_all(&path).expect("made");
        for (key, value) in values {
            fs::write(path.join(key), format!("{value}\n")).expect("written");
        }
    }

    #[test]
    fn installed_packages_are_read_and_what_is_half_done_is_not() {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        write(
            root,
            "sys-apps/foo-1.2-r3",
            &[("SLOT", "0/2"), ("USE", "x"), ("IUSE", "x y"), ("RDEPEND", "!a/b")],
        );
        write(root, "sys-apps/-MERGING-bar-1", &[]);
        fs::write(root.join("sys-apps/.lock"), "").expect("written");
        std::os::unix::fs::symlink("/etc/shadow", root.join("sys-apps/foo-1.2-r3/DESCRIPTION"))
            .expect("made");
        let packages = read(root).expect("read");
        let [package] = packages.as_slice() else { panic!("{packages:?}") };
        assert_eq!(package.to_string(), "sys-apps/foo-1.2-r3");
        assert_eq!((package.slot.as_str(), package.sub_slot.as_str()), ("0", "2"));
        assert_eq!((package.dependencies.run.len(), package.description.as_str()), (1, ""));
        write(root, "sys-apps/broken", &[]);
        assert!(matches!(read(root), Err(DatabaseError::Package { .. })));
        assert!(matches!(read(Utf8Path::new("/nowhere")), Err(DatabaseError::Read { .. })));
    }
}
