// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io::{self, Read as _};

use camino::Utf8Path;
use sha2::{Digest, Sha256};

/// Collects what a thing is made from, and gives one SHA-256 over it.
///
/// Each part goes in with its name and length, so that no two lists of parts look alike.
#[derive(Default)]
pub(crate) struct Inputs(Sha256);

impl Inputs {
    pub(crate) fn add(&mut self, name: &str, content: impl AsRef<[u8]>) {
        for part in [name.as_bytes(), content.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    pub(crate) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// SHA-256 of a file, in hex.
pub(crate) fn of_file(path: &Utf8Path) -> io::Result<String> {
    of_file_by::<Sha256>(path)
}

/// Another digest of a file, in hex.
pub(crate) fn of_file_by<D: Digest>(path: &Utf8Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = D::new();
    let mut block = vec![0; 1 << 20];
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

    #[test]
    fn parts_do_not_run_into_each_other() {
        let digest = |parts: &[(&str, &str)]| {
            let mut inputs = Inputs::default();
            for (name, content) in parts {
                inputs.add(name, content);
            }
            inputs.finish()
        };
        assert_ne!(digest(&[("a", "bc")]), digest(&[("ab", "c")]));
        assert_ne!(digest(&[("a", "b"), ("c", "d")]), digest(&[("a", "bcd")]));
        assert_eq!(digest(&[("a", "b")]), digest(&[("a", "b")]));
    }
}
