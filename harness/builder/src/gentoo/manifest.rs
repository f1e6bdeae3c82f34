// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use blake2::Blake2b512;
use sha2::{Digest, Sha256, Sha512};

/// The `Manifest` of a gpkg container: size and digests of each of its members. See GLEP 74 for the
/// format; in a container every line is of the kind `DATA`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    members: BTreeMap<String, Expected>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    size: u64,
    digests: BTreeMap<String, String>,
}

/// What a member really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// bytes
    pub size: u64,
    /// in hex
    pub blake2b: String,
    /// in hex
    pub sha512: String,
    /// in hex
    pub sha256: String,
}

/// Something that does not agree with a manifest, or a manifest that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// a line is not one of a manifest
    #[error("its manifest has the line `{0}`, which cannot be read")]
    Line(String),
    /// two lines about one member
    #[error("its manifest names `{0}` twice")]
    Twice(String),
    /// a member that it does not name
    #[error("its manifest does not name `{0}`")]
    Unknown(String),
    /// a member that it names and that is not there
    #[error("its manifest names `{0}`, which is not there")]
    Absent(String),
    /// another length
    #[error("`{member}` has {found} bytes, its manifest says {expected}")]
    Size {
        /// of the container
        member: String,
        /// bytes
        expected: u64,
        /// bytes
        found: u64,
    },
    /// another digest
    #[error("{algorithm} of `{member}` is `{found}`, its manifest says `{expected}`")]
    Digest {
        /// of the container
        member: String,
        /// as the manifest calls it
        algorithm: String,
        /// in hex
        expected: String,
        /// in hex
        found: String,
    },
    /// no digest that tells anything
    #[error("its manifest gives no strong digest of `{0}` (BLAKE2B, SHA512 or SHA256)")]
    Weak(String),
}

impl Manifest {
    /// Reads a manifest. The lines of an OpenPGP signature around it are passed over: the signature
    /// is not judged.
    ///
    /// # Errors
    /// A line is not one of a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut manifest = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            if words.next() != Some("DATA") {
                continue;
            }
            let wrong = || ManifestError::Line(line.chars().take(80).collect());
            let (name, size) = (words.next().ok_or_else(wrong)?, words.next().ok_or_else(wrong)?);
            let size = size.parse().map_err(|_| wrong())?;
            let mut digests = BTreeMap::new();
            while let Some(algorithm) = words.next() {
                let digest = words.next().ok_or_else(wrong)?;
                digests.insert(algorithm.to_owned(), digest.to_ascii_lowercase());
            }
            if manifest.members.insert(name.to_owned(), Expected { size, digests }).is_some() {
                return Err(ManifestError::Twice(name.to_owned()));
            }
        }
        Ok(manifest)
    }

    /// Compares all members of a container with the manifest.
    ///
    /// # Errors
    /// One is not named, is absent, or differs.
    pub fn check(&self, measured: &BTreeMap<String, Measured>) -> Result<(), ManifestError> {
        for (member, found) in measured {
            let expected = self.members.get(member).ok_or_else(|| ManifestError::Unknown(member.clone()))?;
            expected.check(member, found)?;
        }
        match self.members.keys().find(|member| !measured.contains_key(*member)) {
            Some(member) => Err(ManifestError::Absent(member.clone())),
            None => Ok(()),
        }
    }
}

impl Expected {
    fn check(&self, member: &str, found: &Measured) -> Result<(), ManifestError> {
        if self.size != found.size {
            let (expected, found) = (self.size, found.size);
            return Err(ManifestError::Size { member: member.to_owned(), expected, found });
        }
        let known = [("BLAKE2B", &found.blake2b), ("SHA512", &found.sha512), ("SHA256", &found.sha256)];
        let mut strong = false;
        for (algorithm, digest) in known {
            let Some(expected) = self.digests.get(algorithm) else { continue };
            strong = true;
            if expected != digest {
                let (expected, found) = (expected.clone(), digest.clone());
                let algorithm = algorithm.to_owned();
                return Err(ManifestError::Digest { member: member.to_owned(), algorithm, expected, found });
            }
        }
        if strong { Ok(()) } else { Err(ManifestError::Weak(member.to_owned())) }
    }
}

/// Takes the measures of a member while it is read.
#[derive(Default)]
pub(super) struct Meter {
    size: u64,
    blake2b: Blake2b512,
    sha512: Sha512,
    sha256: Sha256,
}

impl Meter {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.blake2b.update(bytes);
        self.sha512.update(bytes);
        self.sha256.update(bytes);
    }

    pub(super) fn finish(self) -> Measured {
        Measured {
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

    fn measured(bytes: &[u8]) -> Measured {
        let mut meter = Meter::default();
        meter.update(bytes);
        meter.finish()
    }

    #[test]
    fn members_are_compared_with_what_is_said_of_them() {
        let found = measured(b"abc");
        assert_eq!(&found.blake2b[..16], "ba80a53f981c4d0d", "RFC 7693, appendix A");
        let line = |digests: String| format!("DATA x 3 {digests}\n");
        let check = |text: &str| {
            let members = [("x".to_owned(), found.clone())].into();
            Manifest::parse(text).and_then(|manifest| manifest.check(&members))
        };
        let good = line(format!("BLAKE2B {} SHA512 {}", found.blake2b, found.sha512));
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{good}")), Ok(()));
        assert!(matches!(check(""), Err(ManifestError::Unknown(_))));
        assert!(matches!(check(&format!("{good}DATA y 1 SHA512 00\n")), Err(ManifestError::Absent(_))));
        assert!(matches!(check(&format!("{good}{good}")), Err(ManifestError::Twice(_))));
        assert!(matches!(check(&good.replace(" 3 ", " 4 ")), Err(ManifestError::Size { .. })));
        assert!(matches!(check(&line("MD5 00".to_owned())), Err(ManifestError::Weak(_))));
        assert!(matches!(check(&line("SHA512".to_owned())), Err(ManifestError::Line(_))));
        let wrong = line(format!("BLAKE2B {} SHA512 {}", found.blake2b, found.sha256));
        assert!(matches!(check(&wrong), Err(ManifestError::Digest { .. })));
    }
}
