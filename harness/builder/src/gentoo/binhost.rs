// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, Store, StoreError};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::super::fetch::{self, FetchError};
use super::index::{Index, IndexError};
use super::package::PackageFile;
use super::remote_index;
use loadgauge_host::digest;

/// Bytes of a package file.
const MAXIMUM_PACKAGE: u64 = 8 << 30;

/// A place with binary packages and their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binhost {
    /// a directory of the host
    Directory(Utf8PathBuf),
    /// a URL that ends with `/`
    Url(String),
}

/// A binhost that does not give what it should.
#[derive(Debug, thiserror::Error)]
pub enum BinhostError {
    /// it cannot be fetched
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// it cannot be read
    #[error("cannot read `{path}`")]
    Read {
        /// which
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// its index is not one
    #[error("cannot read the index of the binhost `{binhost}`")]
    Index {
        /// which
        binhost: String,
        /// why not
        source: IndexError,
    },
    /// the index leads out of the binhost
    #[error("the index says that a package lies at `{0}`, which is not inside the binhost")]
    Path(String),
    /// a package file is not the one that the index speaks of
    #[error("`{path}` has {what} `{found}`, and the index of the binhost says `{expected}`")]
    Changed {
        /// relative to the binhost
        path: String,
        /// what differs
        what: &'static str,
        /// as the index has it
        expected: String,
        /// as it is
        found: String,
    },
    /// nothing to compare a package from the network with
    #[error("the index of the binhost gives no SHA-1 of `{0}`")]
    NoDigest(String),
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BinhostError {
    /// Whether the host or its network lacks something, rather than the recipe being wrong.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Fetch(error) => !error.is_absent(),
            Self::Read { .. } | Self::Store(_) => true,
            _ => false,
        }
    }
}

impl Hint for BinhostError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Fetch(error) => error.hint(),
            Self::Changed { .. } => Some(
                "the binhost was changed since its index was read: make the index anew with `emaint --fix binhost`".to_owned(),
            ),
            Self::Read { .. } => Some("a binhost is a directory with packages and `Packages`, their index".to_owned()),
            _ => None,
        }
    }
}

/// A package file on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// where it lies
    pub path: Utf8PathBuf,
    /// SHA-256 in hex
    pub sha256: String,
    /// bytes
    pub size: u64,
}

impl Binhost {
    /// Reads the index. That of a URL is kept, and fetched again where it has changed.
    ///
    /// # Errors
    /// See [`BinhostError`].
    pub fn index(&self, store: &Store, progress: &dyn Fn(&str)) -> Result<Index, BinhostError> {
        let path = match self {
            Self::Directory(directory) => index_of_directory(directory),
            Self::Url(url) => remote_index::bring(url, store, progress)?,
        };
        let bytes = fs::read(&path).map_err(|source| BinhostError::Read { path, source })?;
        Index::read(&bytes).map_err(|source| BinhostError::Index { binhost: self.to_string(), source })
    }

    /// Brings a package file onto this host, where it is not, and compares it with the index.
    ///
    /// # Errors
    /// See [`BinhostError`].
    pub fn file(&self, file: &PackageFile, store: &Store) -> Result<Local, BinhostError> {
        if file.path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(BinhostError::Path(file.path.clone()));
        }
        match self {
            Self::Directory(directory) => {
                let path = directory.join(&file.path);
                let bytes =
                    fs::read(&path).map_err(|source| BinhostError::Read { path: path.clone(), source })?;
                check(file, &bytes)?;
                Ok(Local { path, sha256: hex::encode(Sha256::digest(&bytes)), size: bytes.len() as u64 })
            }
            Self::Url(url) => file_of_url(url, file, store),
        }
    }
}

fn index_of_directory(directory: &Utf8Path) -> Utf8PathBuf {
    let (plain, packed) = (directory.join("Packages"), directory.join("Packages.gz"));
    if !plain.is_file() && packed.is_file() { packed } else { plain }
}

fn file_of_url(url: &str, file: &PackageFile, store: &Store) -> Result<Local, BinhostError> {
    let sha1 = file.sha1.as_ref().ok_or_else(|| BinhostError::NoDigest(file.path.clone()))?;
    let size = file.size.unwrap_or(MAXIMUM_PACKAGE);
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    let key = digest::of_parts([sha1.as_str(), &size.to_string(), &file.path]);
    let path = match store.entry("gentoo", &key)? {
        Entry::Ready(directory) => directory.join(name),
        Entry::Vacant(vacancy) => {
            let bytes = fetch::read(&format!("{url}{}", file.path), size.min(MAXIMUM_PACKAGE))?;
            check(file, &bytes)?;
            let path = vacancy.directory().join(name);
            fs::write(&path, bytes).map_err(|source| BinhostError::Read { path, source })?;
            vacancy.commit()?.join(name)
        }
    };
    let fail = |source| BinhostError::Read { path: path.clone(), source };
    let sha256 = digest::sha256_of_file(&path).map_err(fail)?;
    let size = fs::metadata(&path).map_err(fail)?.len();
    Ok(Local { path, sha256, size })
}

/// Compares a package file with what the index says of it.
fn check(file: &PackageFile, bytes: &[u8]) -> Result<(), BinhostError> {
    let changed = |what, expected: String, found: String| {
        Err(BinhostError::Changed { path: file.path.clone(), what, expected, found })
    };
    if let Some(size) = file.size.filter(|size| *size != bytes.len() as u64) {
        return changed("a size of", size.to_string(), bytes.len().to_string());
    }
    let found = hex::encode(Sha1::digest(bytes));
    if let Some(expected) = file.sha1.as_ref().filter(|expected| **expected != found) {
        return changed("the SHA-1", expected.clone(), found);
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
