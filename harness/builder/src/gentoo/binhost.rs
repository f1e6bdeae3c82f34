// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, FileError, Store, digest, fs};
use sha1::{Digest as _, Sha1};

use super::binhost_error::BinhostError;
use super::index::Index;
use super::package::PackageFile;
use super::remote_index;
use crate::fetch;

/// Limit of a package file in bytes.
const MAXIMUM_PACKAGE: u64 = 8 << 30;

/// A directory or URL with binary packages and their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Binhost {
    /// a directory
    Directory(Utf8PathBuf),
    /// a URL that ends with `/`
    Url(String),
}

/// A package file that was verified against the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerifiedFile {
    /// path on this host
    pub path: Utf8PathBuf,
    /// SHA-256 in hex
    pub sha256: String,
    /// size in bytes
    pub size: u64,
}

impl Binhost {
    /// Reads the index. The index of a URL is stored, and fetched again when it has changed.
    ///
    /// # Errors
    /// See [`BinhostError`].
    pub(super) fn index(&self, store: &Store, progress: &dyn Fn(&str)) -> Result<Index, BinhostError> {
        let path = match self {
            Self::Directory(directory) => index_of_directory(directory),
            Self::Url(url) => remote_index::fetch(url, store, progress)?,
        };
        let bytes = fs::read(&path)?;
        Index::read(&bytes).map_err(|source| BinhostError::Index { binhost: self.to_string(), source })
    }

    /// Fetches a package file of a URL unless it is stored, and verifies it against the index.
    ///
    /// # Errors
    /// See [`BinhostError`].
    pub(super) fn file(&self, file: &PackageFile, store: &Store) -> Result<VerifiedFile, BinhostError> {
        if file.path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(BinhostError::Path(file.path.clone()));
        }
        match self {
            Self::Directory(directory) => {
                let path = directory.join(&file.path);
                let bytes = fs::read(&path)?;
                verify(file, &bytes)?;
                Ok(VerifiedFile { path, sha256: digest::sha256(&bytes), size: bytes.len() as u64 })
            }
            Self::Url(url) => file_of_url(url, file, store),
        }
    }
}

fn index_of_directory(directory: &Utf8Path) -> Utf8PathBuf {
    let (plain, packed) = (directory.join("Packages"), directory.join("Packages.gz"));
    if !plain.is_file() && packed.is_file() { packed } else { plain }
}

fn file_of_url(url: &str, file: &PackageFile, store: &Store) -> Result<VerifiedFile, BinhostError> {
    let sha1 = file.sha1.as_ref().ok_or_else(|| BinhostError::NoDigest(file.path.clone()))?;
    let size = file.size.unwrap_or(MAXIMUM_PACKAGE);
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    let key = digest::of_parts([sha1.as_str(), &size.to_string(), &file.path]);
    let path = match store.entry("gentoo", &key)? {
        Entry::Ready(directory) => directory.join(name),
        Entry::Vacant(vacancy) => {
            let bytes = fetch::read(&format!("{url}{}", file.path), size.min(MAXIMUM_PACKAGE))?;
            verify(file, &bytes)?;
            let path = vacancy.directory().join(name);
            fs::write(&path, bytes)?;
            vacancy.commit()?.join(name)
        }
    };
    let sha256 = digest::sha256_of_file(&path).map_err(FileError::at("read", &path))?;
    let size = fs::metadata(&path)?.len();
    Ok(VerifiedFile { path, sha256, size })
}

/// Verifies the size and the SHA-1 of a package file.
fn verify(file: &PackageFile, bytes: &[u8]) -> Result<(), BinhostError> {
    let changed = |property, expected: String, found: String| {
        Err(BinhostError::Changed { path: file.path.clone(), property, expected, found })
    };
    if let Some(size) = file.size.filter(|size| *size != bytes.len() as u64) {
        return changed("size", size.to_string(), bytes.len().to_string());
    }
    let found = hex::encode(Sha1::digest(bytes));
    if let Some(expected) = file.sha1.as_ref().filter(|expected| **expected != found) {
        return changed("SHA-1", expected.clone(), found);
    }
    Ok(())
}

impl std::fmt::Display for Binhost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => path.fmt(formatter),
            Self::Url(url) => url.fmt(formatter),
        }
    }
}
