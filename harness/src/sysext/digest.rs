// SPDX-License-Identifier: Apache-2.0
//! Digests of files and of lists of words.
use std::fs::File;
use std::io::{self, Read as _};

use camino::Utf8Path;
use sha2::{Digest, Sha256, Sha512};

/// SHA-256 of a file, in hex.
pub(super) fn sha256_of_file(path: &Utf8Path) -> io::Result<String> {
    of_file::<Sha256>(path)
}

/// SHA-256 of bytes, in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// SHA-512 of a file, in hex.
pub(super) fn sha512_of_file(path: &Utf8Path) -> io::Result<String> {
    of_file::<Sha512>(path)
}

/// SHA-256 over texts, each with its length before it so that no two lists give the same.
pub(super) fn of_parts<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

fn of_file<D: Digest>(path: &Utf8Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = D::new();
    let mut buffer = vec![0_u8; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            length => hash.update(&buffer[..length]),
        }
    }
}
