// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use super::control::Paragraph;

/// What the signed `Release` file of a suite says of its indices.
///
/// Format: <https://wiki.debian.org/DebianRepository/Format>, "Release files".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Release {
    /// what the suite is called: `stable`, and `trixie`
    pub(super) names: Vec<String>,
    /// whether indices lie under their digests too, where they stay while others take their names
    pub(super) by_hash: bool,
    /// by path, relative to the suite
    pub(super) files: BTreeMap<String, Listed>,
}

/// A file that the `Release` file lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// SHA-256, in hex
    pub(super) sha256: String,
    /// bytes
    pub(super) size: u64,
}

impl Release {
    /// Reads the text, whose signature was verified. Lines that are no entries are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let paragraph = Paragraph::new(text.as_bytes());
        let names = ["Suite", "Codename"].iter().filter_map(|field| paragraph.field(field)).collect();
        let by_hash = paragraph.field("Acquire-By-Hash").is_some_and(|value| value == "yes");
        let list = paragraph.field("SHA256").unwrap_or_default();
        let files = list.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (sha256, size, path) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
            Some((path.to_owned(), Listed { sha256: sha256.to_owned(), size }))
        });
        Self { names, by_hash, files: files.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_file_lists_its_indices() {
        let release = Release::parse(
            "Origin: x\nSuite: stable\nCodename: trixie\nAcquire-By-Hash: yes\nMD5Sum:\n 00 1 main/x\nSHA256:\n \
             aa  12 main/binary-amd64/Packages.xz\n bb 3 main/y\n nonsense\nDescription: z\n",
        );
        assert_eq!(release.names, ["stable", "trixie"]);
        assert!(release.by_hash);
        let listed = |sha256: &str, size| Some(Listed { sha256: sha256.to_owned(), size });
        assert_eq!(release.files.get("main/binary-amd64/Packages.xz").cloned(), listed("aa", 12));
        assert_eq!(release.files.get("main/y").cloned(), listed("bb", 3));
        assert_eq!(release.files.len(), 2);
        assert_eq!(Release::parse(""), Release::default());
    }
}
