// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::{FileError, digest};

/// A file that went into an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    /// its file name
    pub(crate) name: String,
    /// a package URL, a URL, or a path relative to the recipe
    pub(crate) uri: String,
    /// SHA-256 in hex
    pub(crate) sha256: String,
}

impl Input {
    /// An input whose name is the last part of its URI.
    pub(crate) fn of_uri(uri: String, sha256: String) -> Self {
        Self { name: uri.rsplit('/').next().unwrap_or_default().to_owned(), uri, sha256 }
    }

    /// A file in the directory of the recipe.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of_file(path: &Utf8Path, directory: &Utf8Path) -> Result<Self, FileError> {
        let sha256 = digest::sha256_of_file(path).map_err(FileError::at("read", path))?;
        Ok(Self::of_uri(path.strip_prefix(directory).unwrap_or(path).to_string(), sha256))
    }
}
