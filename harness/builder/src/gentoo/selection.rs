// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;

use crate::explain::Explanation;

/// The packages of a recipe, resolved and fetched.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// the packages by section
    pub(super) groups: Vec<Vec<SelectedPackage>>,
    /// why they are needed
    pub explanation: Explanation,
    /// warnings for the author of the recipe
    pub warnings: Vec<String>,
}

/// A package that goes into the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedPackage {
    /// category and name
    pub name: String,
    /// version with the revision
    pub version: String,
    /// repository of the ebuild
    pub repository: String,
    /// path of the package file
    pub path: Utf8PathBuf,
    /// SHA-256 of the package file, in hex
    pub sha256: String,
    /// size of the package file in bytes
    pub size: u64,
}

impl Selection {
    /// All packages, in the order in which they are unpacked.
    pub fn packages(&self) -> impl Iterator<Item = &SelectedPackage> {
        self.groups.iter().flatten()
    }
}

impl SelectedPackage {
    /// The package in the format of `equery list`: `app-misc/foo-1.0::gentoo`.
    pub fn line(&self) -> String {
        let repository = if self.repository.is_empty() { "unknown" } else { &self.repository };
        format!("{}-{}::{repository}", self.name, self.version)
    }
}

/// The part of a selection that determines the contents of the extension.
pub(crate) fn key(selection: &Selection) -> String {
    let lines: Vec<String> =
        selection.packages().map(|package| format!("{} sha256:{}", package.line(), package.sha256)).collect();
    lines.join("\n")
}
