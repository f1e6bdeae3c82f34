// SPDX-License-Identifier: Apache-2.0
//! Portage's database of installed packages (vdb), `/var/db/pkg`.
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use super::index::Metadata;
use super::package::{Package, PackageError};

/// The path of the database, relative to the root.
pub const PATH: &str = "var/db/pkg";

/// The files that are read of each package. Others (`CONTENTS`, `environment.bz2` ...) are large and not
/// needed for the resolution.
const KEYS: [&str; 10] = [
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
];
/// Limit of a value in bytes; the longest of Gentoo's have some tens of kilobytes.
const MAXIMUM_VALUE: u64 = 4 << 20;

/// A database that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// a file or directory cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// the metadata of a package are invalid
    #[error("cannot read the installed package `{path}`")]
    Package {
        /// its directory
        path: Utf8PathBuf,
        /// what is wrong
        source: PackageError,
    },
}

/// Reads the installed packages of a database, which has a directory `CATEGORY/NAME-VERSION` for each.
///
/// Packages that Portage is merging (`-MERGING-*`) and lock files are ignored; symbolic links are not
/// followed.
///
/// # Errors
/// See [`DatabaseError`].
pub fn read(directory: &Utf8Path) -> Result<Vec<Package>, DatabaseError> {
    let mut packages = Vec::new();
    for category in directories(directory)? {
        for name in directories(&directory.join(&category))? {
            if name.starts_with('-') {
                continue;
            }
            let path = directory.join(&category).join(&name);
            let metadata = read_values(&path)?;
            let package = Package::read(&format!("{category}/{name}"), &metadata)
                .map_err(|source| DatabaseError::Package { path, source })?;
            packages.push(package);
        }
    }
    Ok(packages)
}

/// The names of the directories in a directory, sorted.
fn directories(path: &Utf8Path) -> Result<Vec<String>, FileError> {
    let failed = || FileError::at("list", path);
    let mut names = Vec::new();
    for entry in path.read_dir_utf8().map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_type().map_err(failed())?.is_dir() && !entry.file_name().starts_with('.') {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn read_values(directory: &Utf8Path) -> Result<Metadata, FileError> {
    let mut metadata = Metadata::new();
    for key in KEYS {
        let path = directory.join(key);
        // Portage writes no file for an empty value.
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let mut value = String::new();
        fs::open(&path)?
            .take(MAXIMUM_VALUE)
            .read_to_string(&mut value)
            .map_err(FileError::at("read", &path))?;
        metadata.insert(key.to_owned(), value.trim().to_owned());
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(root: &Utf8Path, package: &str, values: &[(&str, &str)]) {
        let path = root.join(package);
        fs::create_dir_all(&path).expect("made");
        for (key, value) in values {
            fs::write(path.join(key), format!("{value}\n")).expect("written");
        }
    }

    #[test]
    fn installed_packages_are_read_and_half_merged_ones_are_not() {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        write(
            root,
            "sys-apps/foo-1.2-r3",
            &[("SLOT", "0/2"), ("USE", "x"), ("IUSE", "x y"), ("RDEPEND", "!a/b")],
        );
        write(root, "sys-apps/-MERGING-bar-1", &[]);
        fs::write(root.join("sys-apps/.lock"), "").expect("written");
        std::os::unix::fs::symlink("/etc/shadow", root.join("sys-apps/foo-1.2-r3/repository")).expect("made");
        let packages = read(root).expect("read");
        let [package] = packages.as_slice() else { panic!("{packages:?}") };
        assert_eq!(package.to_string(), "sys-apps/foo-1.2-r3");
        assert_eq!((package.slot.as_str(), package.sub_slot.as_str()), ("0", "2"));
        assert_eq!((package.dependencies.run.len(), package.repository.as_str()), (1, ""));
        write(root, "sys-apps/broken", &[]);
        assert!(matches!(read(root), Err(DatabaseError::Package { .. })));
        assert!(matches!(read(Utf8Path::new("/nowhere")), Err(DatabaseError::File(_))));
    }
}
