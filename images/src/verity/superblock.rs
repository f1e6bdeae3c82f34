// SPDX-License-Identifier: Apache-2.0
use uuid::Uuid;

use super::hash::BLOCK;

const MAGIC: &[u8; 8] = b"verity\0\0";
const VERSION: u32 = 1;
const HASH_TYPE: u32 = 1;
/// The only hash function that is supported.
pub(super) const ALGORITHM: &str = "sha256";
const LONGEST_SALT: usize = 256;
const OFFSET_OF_UUID: usize = 16;
const OFFSET_OF_ALGORITHM: usize = 32;
const OFFSET_OF_DATA_BLOCK_SIZE: usize = 64;
const OFFSET_OF_HASH_BLOCK_SIZE: usize = 68;
const OFFSET_OF_DATA_BLOCKS: usize = 72;
const OFFSET_OF_SALT_SIZE: usize = 80;
const OFFSET_OF_SALT: usize = 88;

/// The superblock of a hash tree, `struct verity_sb` of cryptsetup's `lib/verity/verity.c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Superblock {
    pub(super) uuid: Uuid,
    /// the number of data blocks
    pub(super) data_blocks: u64,
    /// at most 256 bytes
    pub(super) salt: Vec<u8>,
}

impl Superblock {
    /// Parses the first 512 bytes; `None` where there is no superblock.
    ///
    /// # Errors
    /// A message: the superblock is damaged or its parameters are not supported.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        if !bytes.starts_with(MAGIC) {
            return Ok(None);
        }
        let part = |offset: usize, length: usize| bytes.get(offset..offset + length).unwrap_or_default();
        let le32 = |offset| part(offset, 4).try_into().map_or(0, u32::from_le_bytes);
        let (version, hash_type) = (le32(8), le32(12));
        if (version, hash_type) != (VERSION, HASH_TYPE) {
            return Err(format!("version {version} with hash type {hash_type} is not supported"));
        }
        let algorithm = String::from_utf8_lossy(part(OFFSET_OF_ALGORITHM, 32));
        let algorithm = algorithm.trim_end_matches('\0');
        if algorithm != ALGORITHM {
            return Err(format!("the hash function `{}` is not supported", algorithm.escape_debug()));
        }
        let sizes = (le32(OFFSET_OF_DATA_BLOCK_SIZE), le32(OFFSET_OF_HASH_BLOCK_SIZE));
        if [sizes.0, sizes.1].iter().any(|size| usize::try_from(*size) != Ok(BLOCK)) {
            return Err(format!("blocks of {} and {} bytes are not supported", sizes.0, sizes.1));
        }
        let salt = usize::from(part(OFFSET_OF_SALT_SIZE, 2).try_into().map_or(0, u16::from_le_bytes));
        if salt > LONGEST_SALT {
            return Err(format!("a salt of {salt} bytes is longer than {LONGEST_SALT}"));
        }
        Ok(Some(Self {
            uuid: Uuid::from_slice(part(OFFSET_OF_UUID, 16)).unwrap_or_default(),
            data_blocks: part(OFFSET_OF_DATA_BLOCKS, 8).try_into().map_or(0, u64::from_le_bytes),
            salt: part(OFFSET_OF_SALT, salt).to_vec(),
        }))
    }

    /// The bytes of the superblock, in a block of its own.
    pub(super) fn to_block(&self) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK];
        let mut put = |offset: usize, part: &[u8]| bytes[offset..offset + part.len()].copy_from_slice(part);
        let block = u32::try_from(BLOCK).unwrap_or_default().to_le_bytes();
        put(0, MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &HASH_TYPE.to_le_bytes());
        put(OFFSET_OF_UUID, self.uuid.as_bytes());
        put(OFFSET_OF_ALGORITHM, ALGORITHM.as_bytes());
        put(OFFSET_OF_DATA_BLOCK_SIZE, &block);
        put(OFFSET_OF_HASH_BLOCK_SIZE, &block);
        put(OFFSET_OF_DATA_BLOCKS, &self.data_blocks.to_le_bytes());
        put(OFFSET_OF_SALT_SIZE, &u16::try_from(self.salt.len()).unwrap_or_default().to_le_bytes());
        put(OFFSET_OF_SALT, &self.salt);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_is_read_as_it_was_written() {
        let written = Superblock { uuid: Uuid::from_u128(7), data_blocks: 260_094, salt: vec![1, 2, 3] };
        let block = written.to_block();
        assert_eq!(Superblock::parse(&block), Ok(Some(written)));
        assert_eq!(Superblock::parse(&[0; 512]), Ok(None));
        let changed = |offset: usize, byte: u8| {
            let mut block = block.clone();
            block[offset] = byte;
            Superblock::parse(&block).expect_err("refused")
        };
        assert_eq!(changed(8, 2), "version 2 with hash type 1 is not supported");
        assert_eq!(changed(32, b'S'), "the hash function `Sha256` is not supported");
        assert_eq!(changed(65, 1), "blocks of 256 and 4096 bytes are not supported");
        assert_eq!(changed(81, 9), "a salt of 2307 bytes is longer than 256");
    }
}
