// SPDX-License-Identifier: Apache-2.0
//! Digests of directories.
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use camino::Utf8Path;
use loadgauge_host::{FileError, digest, fs};
use sha2::{Digest as _, Sha512};
use walkdir::WalkDir;

/// SHA-256 in hex of a file, or of the sorted listing of a directory.
pub(super) fn sha256_of_file_or_directory(path: &Utf8Path) -> Result<String, FileError> {
    if path.is_dir() {
        return Ok(digest::sha256(listing(path)?.join("\n")));
    }
    digest::sha256_of_file(path).map_err(FileError::at("read", path))
}

/// SHA-512 in hex of the sorted listing of a directory, with the digests of its files.
pub(super) fn sha512_of_directory(directory: &Utf8Path) -> Result<String, FileError> {
    Ok(hex::encode(Sha512::digest(listing(directory)?.join("\n"))))
}

/// A line for each file, directory and link in a directory: mode, path, digest or target.
pub(super) fn listing(directory: &Utf8Path) -> Result<Vec<String>, FileError> {
    let mut lines = Vec::new();
    for entry in WalkDir::new(directory).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| FileError::at("read", directory)(error.into()))?;
        let relative = entry.path().strip_prefix(directory).unwrap_or(Path::new("")).display();
        let metadata = fs::symlink_metadata(entry.path())?;
        let mode = metadata.permissions().mode();
        let content = if metadata.is_file() {
            let path = Utf8Path::from_path(entry.path()).unwrap_or(directory);
            digest::sha256_of_file(path).map_err(FileError::at("read", path))?
        } else if metadata.is_symlink() {
            fs::read_link(entry.path())?.display().to_string()
        } else {
            String::new()
        };
        lines.push(format!("{mode:o} {relative} {content}"));
    }
    Ok(lines)
}
