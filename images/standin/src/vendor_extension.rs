// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;

/// An extension that ships with the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorExtension {
    /// the name without `.raw`, as in the extension-release file
    pub name: String,
    /// the file, or the directory in eras whose extensions have another form
    pub path: Utf8PathBuf,
}
