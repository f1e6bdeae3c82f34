// SPDX-License-Identifier: Apache-2.0
//! Files that only their owner can read: a guest's memory, disks and logs contain its secrets.
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};

use camino::Utf8Path;
use loadgauge_host::FileError;

/// The mode of such a file.
const MODE: u32 = 0o600;

/// Creates an empty file that only its owner can read, or empties an existing one. A program that opens it
/// afterwards keeps its mode.
///
/// # Errors
/// The operating system refuses; the error names the file.
pub(super) fn create(path: &Utf8Path) -> Result<File, FileError> {
    let create = || -> io::Result<File> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(MODE).open(path)?;
        // The mode above is that of new files only. A device such as /dev/null belongs to everybody.
        if file.metadata()?.is_file() {
            file.set_permissions(PermissionsExt::from_mode(MODE))?;
        }
        Ok(file)
    };
    create().map_err(FileError::at("create", path))
}

/// Writes a whole file that only its owner can read, and creates or replaces it.
///
/// # Errors
/// The operating system refuses; the error names the file.
pub(super) fn write(path: &Utf8Path, contents: impl AsRef<[u8]>) -> Result<(), FileError> {
    create(path)?.write_all(contents.as_ref()).map_err(FileError::at("write", path))
}

/// The mode of a file, for tests.
#[cfg(test)]
pub(crate) fn mode(path: &Utf8Path) -> u32 {
    path.metadata().expect("there").permissions().mode() & 0o777
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_and_an_existing_one_become_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8Path::from_path(directory.path()).expect("UTF-8").join("file");
        write(&path, "one").expect("written");
        assert_eq!(mode(&path), 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("changed");
        write(&path, "x").expect("written");
        assert_eq!((mode(&path), std::fs::read(&path).expect("read").as_slice()), (0o600, b"x".as_slice()));
    }
}
