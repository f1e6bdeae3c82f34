// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use super::control::Paragraph;

/// The `Release` file of a suite, which lists its indices.
///
/// Format: <https://wiki.debian.org/DebianRepository/Format>, "Release files".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Release {
    /// `Suite` and `Codename`: `stable`, `trixie`
    pub(super) names: Vec<String>,
    /// `Acquire-By-Hash`: whether indices can be fetched by their digest, which stays valid while the
    /// archive is updated
    pub(super) by_hash: bool,
    /// the indices by their path relative to the suite
    pub(super) files: BTreeMap<String, Listed>,
}

/// An index in the `Release` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// SHA-256, in hex
    pub(super) sha256: String,
    /// size in bytes
    pub(super) size: u64,
}

impl Release {
    /// Parses the text, whose signature the caller has verified. Invalid entries are ignored.
    pub(super) fn parse(text: &str) -> Self {
        let paragraph = Paragraph::new(text.as_bytes());
        let mut names: Vec<String> =
            ["Suite", "Codename"].iter().filter_map(|field| paragraph.field(field)).collect();
        names.dedup();
        let by_hash = paragraph.field("Acquire-By-Hash").is_some_and(|value| value == "yes");
        let list = paragraph.field("SHA256").unwrap_or_default();
        let files = list.lines().filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (sha256, size, path) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
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
