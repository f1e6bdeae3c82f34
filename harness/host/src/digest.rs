// SPDX-License-Identifier: Apache-2.0
//! Digests of files, of bytes, and of lists of named inputs.
use std::io::{self, Read as _};

use camino::Utf8Path;
use sha2::{Digest, Sha256, Sha512};

use crate::fs;

/// How much of a file is read at a time, in bytes.
const BLOCK: usize = 1 << 20;

/// Collects the inputs of a thing and computes one SHA-256 over them.
///
/// Every part is prefixed by its length as 64 bits in little endian, so that no two different lists of
/// parts have the same digest.
#[derive(Debug, Clone, Default)]
pub struct Inputs(Sha256);

impl Inputs {
    /// Adds an input under a name.
    pub fn add(&mut self, name: &str, content: impl AsRef<[u8]>) {
        self.push(name);
        self.push(content);
    }

    /// Adds an input that is known by its position alone.
    pub fn push(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// The digest of all inputs, in hex.
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// SHA-256 of a list of inputs that are known by their position alone, in hex.
pub fn of_parts<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut inputs = Inputs::default();
    for part in parts {
        inputs.push(part);
    }
    inputs.finish()
}

/// SHA-256 of bytes, in hex.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// SHA-256 of a file, in hex.
///
/// # Errors
/// The file cannot be read.
pub fn sha256_of_file(path: &Utf8Path) -> io::Result<String> {
    of_file::<Sha256>(path)
}

/// SHA-512 of a file, in hex.
///
/// # Errors
/// The file cannot be read.
pub fn sha512_of_file(path: &Utf8Path) -> io::Result<String> {
    of_file::<Sha512>(path)
}

/// Any digest of a file, in hex.
///
/// # Errors
/// The file cannot be read.
pub fn of_file<D: Digest>(path: &Utf8Path) -> io::Result<String> {
    let mut file = fs::open_regular(path).map_err(|error| error.source)?;
    let mut hasher = D::new();
    let mut block = vec![0; BLOCK];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&block[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(parts: &[(&str, &str)]) -> String {
        let mut inputs = Inputs::default();
        for (name, content) in parts {
            inputs.add(name, content);
        }
        inputs.finish()
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(named(&[("a", "bc")]), named(&[("ab", "c")]));
        assert_ne!(named(&[("a", "b"), ("c", "d")]), named(&[("a", "bcd")]));
        assert_eq!(named(&[("a", "b")]), named(&[("a", "b")]));
        assert_eq!(named(&[("a", "b")]), of_parts(["a", "b"]));
    }
}
