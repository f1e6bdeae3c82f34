// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;

/// An extended attribute of a file in an image, which the program that takes the image apart passes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// of the file, relative to the root of the file system
    pub(super) path: Utf8PathBuf,
    /// of the attribute
    pub(super) name: String,
}
