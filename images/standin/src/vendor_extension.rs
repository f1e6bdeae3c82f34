// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;

/// An extension that ships with the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorExtension {
    /// without `.raw`, as in its extension-release
    pub name: String,
    /// the file, or the directory where the era has another form for it
    pub path: Utf8PathBuf,
}
