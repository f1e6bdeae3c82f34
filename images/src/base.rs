// SPDX-License-Identifier: Apache-2.0
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};
use serde::{Deserialize, Serialize};

use crate::{Architecture, OsRelease};

/// The /usr of an image plus its package database, which an extension is built against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// SHA-256 over the inputs of the base, in hex
    pub digest: String,
    /// `/usr/lib/os-release` of the image
    pub os_release: OsRelease,
    /// the architecture
    pub architecture: Architecture,
    /// dpkg's status file, with the packages of the image
    pub dpkg_status: Utf8PathBuf,
    /// the archive with further packages of the same distribution
    pub archive: Archive,
}

/// A Debian package archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// base URL
    pub mirror: String,
    /// `trixie`
    pub suite: String,
    /// `main`
    pub components: Vec<String>,
    /// the keyring with the keys that sign its Release file
    pub keyring: Utf8PathBuf,
    /// whether its lists are used after their `Valid-Until`
    #[serde(default)]
    pub allow_expired: bool,
}

/// A base cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// the description has another format
    #[error("`{path}` does not describe a base")]
    Format {
        /// the file
        path: Utf8PathBuf,
        /// the place and the reason
        source: serde_json::Error,
    },
}

/// The file with the description of a base, in its directory.
const DESCRIPTION: &str = "base.json";

impl Base {
    /// Reads the description in a directory; its paths are made absolute.
    ///
    /// # Errors
    /// `base.json` does not exist or has another format.
    pub fn open(directory: &Utf8Path) -> Result<Self, BaseError> {
        let path = directory.join(DESCRIPTION);
        let text = fs::read(&path)?;
        let mut base: Self =
            serde_json::from_slice(&text).map_err(|source| BaseError::Format { path, source })?;
        let directory = camino::absolute_utf8(directory).map_err(FileError::at("resolve", directory))?;
        base.dpkg_status = directory.join(base.dpkg_status);
        Ok(base)
    }

    /// Writes the description into a directory, which the base's relative paths are relative to.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, directory: &Utf8Path) -> Result<(), BaseError> {
        let path = directory.join(DESCRIPTION);
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        Ok(fs::write(&path, text.map_err(FileError::at("write", &path))?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_read_back_with_absolute_paths() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let base = Base {
            digest: "00".to_owned(),
            os_release: OsRelease::parse("ID=flatcar\n").expect("valid"),
            architecture: Architecture::Amd64,
            dpkg_status: Utf8PathBuf::from("dpkg-status"),
            archive: Archive {
                mirror: "http://deb.debian.org/debian".to_owned(),
                suite: "trixie".to_owned(),
                components: vec!["main".to_owned()],
                keyring: Utf8PathBuf::from("/usr/share/keyrings/debian-archive-keyring.gpg"),
                allow_expired: false,
            },
        };
        base.write(directory).expect("written");
        let read = Base::open(directory).expect("read");
        assert_eq!(read.dpkg_status, directory.join("dpkg-status"));
        assert_eq!(Base { dpkg_status: base.dpkg_status.clone(), ..read }, base);
    }

    #[test]
    fn a_directory_without_a_base_is_named() {
        let error = Base::open(Utf8Path::new("/nowhere")).expect_err("nothing there");
        assert!(error.to_string().contains("`/nowhere/base.json`"));
    }
}
