// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::image::Image;

/// What a made image consists of, written beside its disk as `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// version of this file's format, 1
    pub format: u32,
    /// SHA-256 over everything that the image was made from, in hex
    pub inputs: String,
    /// the image; paths are relative to the manifest
    pub image: Image,
    /// every Debian package, `name:architecture`, and its version
    pub packages: BTreeMap<String, String>,
    /// every extension of the image and its file's digest
    pub extensions: BTreeMap<String, FileRecord>,
    /// every file beside the manifest
    pub files: BTreeMap<Utf8PathBuf, FileRecord>,
}

/// A file's size and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// in bytes
    pub size: u64,
    /// SHA-256, in hex
    pub sha256: String,
}

/// The installed packages that dpkg's status file names.
///
/// Format: deb-control paragraphs with a `Status` field, see dpkg(1).
pub(super) fn installed(status: &str) -> BTreeMap<String, String> {
    status
        .split("\n\n")
        .filter_map(|paragraph| {
            let field = |name: &str| {
                let value = |line: &'_ str| {
                    line.strip_prefix(name)?.strip_prefix(':').map(|text| text.trim().to_owned())
                };
                paragraph.lines().find_map(value)
            };
            (field("Status")? == "install ok installed").then(|| {
                Some((format!("{}:{}", field("Package")?, field("Architecture")?), field("Version")?))
            })?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let status = "Package: jq\nStatus: install ok installed\nArchitecture: amd64\nDepends: libjq1 (= 1.7)\n\
                      Description: JSON\n Version: not this\nVersion: 1.7-1\n\nPackage: dracut\n\
                      Status: deinstall ok config-files\nArchitecture: all\nVersion: 106-6\n";
        let packages = installed(status);
        assert_eq!(packages.into_iter().collect::<Vec<_>>(), [("jq:amd64".to_owned(), "1.7-1".to_owned())]);
    }
}
