// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;

use loadgauge_host::digest::Inputs;
use loadgauge_host::{Algorithm, FileError, Store, cached_digest};

use crate::disk::Disk;
use crate::image::ImageError;

/// The SHA-256 of a disk's file in hex; with backing files, one over the digests of all of them.
///
/// # Errors
/// A file cannot be read.
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

/// The SHA-256 of a file in hex, computed once.
///
/// # Errors
/// The file cannot be read.
pub(super) fn of_file(path: &Utf8Path, store: &Store) -> Result<String, ImageError> {
    Ok(cached_digest(path, Algorithm::Sha256, store).map_err(FileError::at("read", path))?)
}
