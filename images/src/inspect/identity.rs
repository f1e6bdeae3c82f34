// SPDX-License-Identifier: Apache-2.0
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::disk::Disk;
use crate::digest::{self, Inputs};
use crate::host::{Entry, Store};
use crate::image::{ImageError, io};

/// The SHA-256 of a disk's file in hex; of a disk that builds on others, one over all of theirs.
///
/// # Errors
/// A file cannot be read, or the store not written.
pub(super) fn of_disk(disk: &Disk, store: &Store) -> Result<String, ImageError> {
    let digests = disk.files().into_iter().map(|file| of_file(file, store)).collect::<Result<Vec<_>, _>>()?;
    if let [digest] = digests.as_slice() {
        return Ok(digest.clone());
    }
    let mut inputs = Inputs::default();
    for digest in digests {
        inputs.add("layer", digest);
    }
    Ok(inputs.finish())
}

/// The SHA-256 of a file in hex. It is kept under the file's place, size and time, so that a large file
/// is read once.
///
/// # Errors
/// The file cannot be read, or the store not written.
pub(super) fn of_file(path: &Utf8Path, store: &Store) -> Result<String, ImageError> {
    let real = path.canonicalize_utf8().map_err(io("open", path))?;
    let metadata = fs::metadata(&real).map_err(io("open", path))?;
    let mut inputs = Inputs::default();
    inputs.add("path", real.as_str());
    for number in [metadata.dev(), metadata.ino(), metadata.size()] {
        inputs.add("number", number.to_le_bytes());
    }
    for number in [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()] {
        inputs.add("time", number.to_le_bytes());
    }
    let known = |entry: Utf8PathBuf| {
        let path = entry.join("sha256");
        fs::read_to_string(&path).map_err(io("read", &path))
    };
    match store.entry("digest", &inputs.finish())? {
        Entry::Ready(entry) => known(entry),
        Entry::Vacant(vacancy) => {
            let found = digest::of_file(&real).map_err(io("read", path))?;
            let file = vacancy.directory().join("sha256");
            fs::write(&file, &found).map_err(io("write", &file))?;
            vacancy.commit()?;
            Ok(found)
        }
    }
}
