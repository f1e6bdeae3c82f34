// SPDX-License-Identifier: Apache-2.0
use openssl::sha::Sha256;

/// Bytes of a block, of data and of hashes alike.
pub const BLOCK: usize = 4096;
/// Bytes of a digest.
pub(super) const DIGEST: usize = 32;
/// Digests in a block.
pub(super) const DIGESTS: u64 = (BLOCK / DIGEST) as u64;

/// SHA-256 with the salt already taken in. OpenSSL's is the fastest on processors without instructions
/// for it.
#[derive(Clone)]
pub(super) struct Salted(Sha256);

impl Salted {
    pub(super) fn new(salt: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(salt);
        Self(hash)
    }

    /// The digest of a block.
    pub(super) fn digest(&self, block: &[u8]) -> [u8; DIGEST] {
        let mut hash = self.0.clone();
        hash.update(block);
        hash.finish()
    }
}

/// How many blocks the levels of a tree have, the topmost first.
pub(super) fn levels(data_blocks: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut blocks = data_blocks;
    while blocks > 1 || levels.is_empty() {
        blocks = blocks.div_ceil(DIGESTS);
        levels.insert(0, blocks);
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_veritysetup() {
        assert_eq!(levels(1), [1]);
        assert_eq!(levels(128), [1]);
        assert_eq!(levels(129), [1, 2]);
        assert_eq!(levels(260_094), [1, 16, 2032]);
    }
}
