// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use blake2::Blake2b512;
use sha2::{Digest, Sha256, Sha512};

/// The `Manifest` of a gpkg container: size and digests of its members.
///
/// Format: GLEP 74; in a container all entries have the tag `DATA`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Manifest {
    entries: BTreeMap<String, ManifestEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ManifestEntry {
    size: u64,
    digests: BTreeMap<String, String>,
}

/// The size and the digests of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemberDigests {
    /// size in bytes
    pub size: u64,
    /// BLAKE2b in hex
    pub blake2b: String,
    /// SHA-512 in hex
    pub sha512: String,
    /// SHA-256 in hex
    pub sha256: String,
}

/// A manifest that is invalid, or a container that differs from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// a line cannot be parsed
    #[error("invalid line in the manifest: `{0}`")]
    Line(String),
    /// two entries are for one member
    #[error("two entries of `{0}` in the manifest")]
    Duplicate(String),
    /// a member has no entry
    #[error("no entry of `{0}` in the manifest")]
    NoEntry(String),
    /// an entry has no member
    #[error("no member `{0}`, which the manifest lists")]
    NoMember(String),
    /// the size of a member differs
    #[error("`{member}` has {found} bytes, expected {expected}")]
    Size {
        /// name of the member
        member: String,
        /// size in the manifest, in bytes
        expected: u64,
        /// actual size in bytes
        found: u64,
    },
    /// a digest of a member differs
    #[error("{algorithm} of `{member}` is `{found}`, expected `{expected}`")]
    Digest {
        /// name of the member
        member: String,
        /// name of the algorithm in the manifest
        algorithm: String,
        /// digest in the manifest, in hex
        expected: String,
        /// actual digest in hex
        found: String,
    },
    /// an entry has no secure digest
    #[error("no BLAKE2B, SHA512 or SHA256 of `{0}` in the manifest")]
    NoSecureDigest(String),
}

impl Manifest {
    /// Parses a manifest. An OpenPGP signature around it is ignored and not verified.
    ///
    /// # Errors
    /// A line is invalid.
    pub(super) fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut manifest = Self::default();
        for line in text.lines() {
            let mut fields = line.split_ascii_whitespace();
            if fields.next() != Some("DATA") {
                continue;
            }
            let invalid = || ManifestError::Line(line.chars().take(80).collect());
            let (name, size) = (fields.next().ok_or_else(invalid)?, fields.next().ok_or_else(invalid)?);
            let size = size.parse().map_err(|_| invalid())?;
            let mut digests = BTreeMap::new();
            while let Some(algorithm) = fields.next() {
                let digest = fields.next().ok_or_else(invalid)?;
                digests.insert(algorithm.to_owned(), digest.to_ascii_lowercase());
            }
            if manifest.entries.insert(name.to_owned(), ManifestEntry { size, digests }).is_some() {
                return Err(ManifestError::Duplicate(name.to_owned()));
            }
        }
        Ok(manifest)
    }

    /// Checks the members of a container against the manifest.
    ///
    /// # Errors
    /// A member has no entry or differs from it, or an entry has no member.
    pub(super) fn check(&self, members: &BTreeMap<String, MemberDigests>) -> Result<(), ManifestError> {
        for (member, found) in members {
            let expected = self.entries.get(member).ok_or_else(|| ManifestError::NoEntry(member.clone()))?;
            expected.check(member, found)?;
        }
        match self.entries.keys().find(|member| !members.contains_key(*member)) {
            Some(member) => Err(ManifestError::NoMember(member.clone())),
            None => Ok(()),
        }
    }
}

impl ManifestEntry {
    fn check(&self, member: &str, found: &MemberDigests) -> Result<(), ManifestError> {
        if self.size != found.size {
            let (expected, found) = (self.size, found.size);
            return Err(ManifestError::Size { member: member.to_owned(), expected, found });
        }
        let known = [("BLAKE2B", &found.blake2b), ("SHA512", &found.sha512), ("SHA256", &found.sha256)];
        let mut secure = false;
        for (algorithm, digest) in known {
            let Some(expected) = self.digests.get(algorithm) else { continue };
            secure = true;
            if expected != digest {
                let (expected, found) = (expected.clone(), digest.clone());
                let algorithm = algorithm.to_owned();
                return Err(ManifestError::Digest { member: member.to_owned(), algorithm, expected, found });
            }
        }
        if secure { Ok(()) } else { Err(ManifestError::NoSecureDigest(member.to_owned())) }
    }
}

/// Computes the size and the digests of a member while it is read.
#[derive(Default)]
pub(super) struct MemberHasher {
    size: u64,
    blake2b: Blake2b512,
    sha512: Sha512,
    sha256: Sha256,
}

impl MemberHasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.blake2b.update(bytes);
        self.sha512.update(bytes);
        self.sha256.update(bytes);
    }

    pub(super) fn finish(self) -> MemberDigests {
        MemberDigests {
            size: self.size,
            blake2b: hex::encode(self.blake2b.finalize()),
            sha512: hex::encode(self.sha512.finalize()),
            sha256: hex::encode(self.sha256.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(bytes: &[u8]) -> MemberDigests {
        let mut hasher = MemberHasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn members_are_checked_against_their_entries() {
        let found = digests(b"abc");
        assert_eq!(&found.blake2b[..16], "ba80a53f981c4d0d", "RFC 7693, appendix A");
        let line = |digests: String| format!("DATA x 3 {digests}\n");
        let check = |text: &str| {
            let members = [("x".to_owned(), found.clone())].into();
            Manifest::parse(text).and_then(|manifest| manifest.check(&members))
        };
        let good = line(format!("BLAKE2B {} SHA512 {}", found.blake2b, found.sha512));
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{good}")), Ok(()));
        assert!(matches!(check(""), Err(ManifestError::NoEntry(_))));
        assert!(matches!(check(&format!("{good}DATA y 1 SHA512 00\n")), Err(ManifestError::NoMember(_))));
        assert!(matches!(check(&format!("{good}{good}")), Err(ManifestError::Duplicate(_))));
        assert!(matches!(check(&good.replace(" 3 ", " 4 ")), Err(ManifestError::Size { .. })));
        assert!(matches!(check(&line("MD5 00".to_owned())), Err(ManifestError::NoSecureDigest(_))));
        assert!(matches!(check(&line("SHA512".to_owned())), Err(ManifestError::Line(_))));
        let wrong = line(format!("BLAKE2B {} SHA512 {}", found.blake2b, found.sha256));
        assert!(matches!(check(&wrong), Err(ManifestError::Digest { .. })));
    }
}
