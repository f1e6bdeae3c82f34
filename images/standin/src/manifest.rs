// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, HashMap};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use loadgauge_images::image::Image;

/// What a made image consists of, written beside its disk as `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// version of this file's format, 1
    pub format: u32,
    /// SHA-256 over everything that the image was made from, in hex
    pub inputs: String,
    /// the image; paths are relative to the manifest
    pub image: Image,
    /// every Debian package, by `name:architecture`
    pub packages: BTreeMap<String, PackageRecord>,
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

/// A Debian package of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Debian's version of it
    pub version: String,
    /// SHA-256 of the package's file in the archive, in hex
    pub sha256: String,
}

/// The installed packages that dpkg's status file names, and their files' digests as the archive's
/// index tells them. A package that the index does not have stands in the error.
///
/// Formats: deb-control paragraphs, with a `Status` field (dpkg(1)) or with one `SHA256` (Debian
/// repository format, "Packages" indices).
pub(super) fn installed(status: &str, index: &str) -> Result<BTreeMap<String, PackageRecord>, String> {
    let digests: HashMap<(String, String), String> = index
        .split("\n\n")
        .filter_map(|paragraph| {
            Some(((name(paragraph)?, field(paragraph, "Version")?), field(paragraph, "SHA256")?))
        })
        .collect();
    status
        .split("\n\n")
        .filter(|paragraph| field(paragraph, "Status").as_deref() == Some("install ok installed"))
        .filter_map(|paragraph| Some((name(paragraph)?, field(paragraph, "Version")?)))
        .map(|package| match digests.get(&package) {
            Some(sha256) => Ok((package.0, PackageRecord { version: package.1, sha256: sha256.clone() })),
            None => Err(format!("{} {}", package.0, package.1)),
        })
        .collect()
}

/// `name:architecture` of a paragraph.
fn name(paragraph: &str) -> Option<String> {
    Some(format!("{}:{}", field(paragraph, "Package")?, field(paragraph, "Architecture")?))
}

/// A field of a paragraph.
fn field(paragraph: &str, name: &str) -> Option<String> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|text| text.trim().to_owned());
    paragraph.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let status = "Package: jq\nStatus: install ok installed\nArchitecture: amd64\nDepends: libjq1 (= 1.7)\n\
                      Description: JSON\n Version: not this\nVersion: 1.7-1\n\nPackage: dracut\n\
                      Status: deinstall ok config-files\nArchitecture: all\nVersion: 106-6\n";
        let index = "Package: jq\nArchitecture: amd64\nVersion: 1.6-1\nSHA256: 00\n\n\
                     Package: jq\nArchitecture: amd64\nVersion: 1.7-1\nSHA256: ab\n";
        let packages = installed(status, index).expect("the index has it");
        let jq = PackageRecord { version: "1.7-1".to_owned(), sha256: "ab".to_owned() };
        assert_eq!(packages.into_iter().collect::<Vec<_>>(), [("jq:amd64".to_owned(), jq)]);
        assert_eq!(installed(status, "").expect_err("no digest"), "jq:amd64 1.7-1");
    }
}
