// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::{Architecture, OsRelease};

/// The /usr of an image plus its package database, which an extension is built against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// SHA-256 over everything that the base was made from, in hex
    pub digest: String,
    /// `/usr/lib/os-release` of the image
    pub os_release: OsRelease,
    /// what it runs on
    pub architecture: Architecture,
    /// dpkg's status file: the packages that the image has
    pub dpkg_status: Utf8PathBuf,
    /// where further packages of the same distribution come from
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
    /// the keyring that its Release file must be signed by
    pub keyring: Utf8PathBuf,
}
