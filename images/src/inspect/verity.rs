// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::disk::Disk;
use super::table::Partition;
use crate::image::ImageError;

/// Where the hash tree of Flatcar's /usr begins in its partition, in bytes: after 260094 blocks of
/// 4096 (`build_library/disk_layout.json`, `fs_blocks`).
const TREE_OFFSET: u64 = 1_065_345_024;
/// The only size of blocks that is read.
const BLOCK: u64 = 4096;
/// Bytes of a SHA-256.
const HASH: usize = 32;
/// Where kernels of either architecture carry the root hash, in bytes.
pub(super) const KERNEL_PLACES: [usize; 2] = [64, 512];

/// The hash tree that /usr is verified by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashTree {
    /// where it begins in its partition, in bytes
    pub offset: u64,
    /// the hash function
    pub algorithm: String,
    /// how many blocks of 4096 bytes it covers
    pub data_blocks: u64,
    /// what each block is hashed after, in hex
    pub salt: String,
    /// the hash of the tree's topmost block, in hex
    pub root_hash: String,
}

impl HashTree {
    /// Reads the superblock of dm-verity behind the file system of /usr, where there is one.
    ///
    /// Format: `struct verity_sb` of cryptsetup's `lib/verity/verity.c`.
    ///
    /// # Errors
    /// The superblock is there and makes no sense.
    pub(crate) fn read(disk: &Disk, partition: &Partition) -> Result<Option<Self>, ImageError> {
        if partition.size < TREE_OFFSET + 2 * BLOCK {
            return Ok(None);
        }
        let mut block = vec![0; 512];
        disk.read(partition.offset + TREE_OFFSET, &mut block)?;
        let fail = |cause: String| ImageError::Damaged {
            path: disk.path().to_owned(),
            place: format!("hash tree of partition {}", partition.number),
            cause,
        };
        let Some(mut tree) = parse(&block, TREE_OFFSET).map_err(fail)? else { return Ok(None) };
        let levels = levels(tree.data_blocks);
        let end = TREE_OFFSET + BLOCK * (1 + levels.iter().sum::<u64>());
        if end > partition.size {
            return Err(fail(format!("{} blocks need more than the partition has", tree.data_blocks)));
        }
        let mut top = vec![0; 4096];
        disk.read(partition.offset + TREE_OFFSET + BLOCK, &mut top)?;
        tree.root_hash = hex::encode(hash(&tree.salt_bytes(), &top));
        Ok(Some(tree))
    }

    fn salt_bytes(&self) -> Vec<u8> {
        hex::decode(&self.salt).unwrap_or_default()
    }

    /// Verifies every block of /usr and of the tree, and names the first that is not as it was.
    ///
    /// # Errors
    /// A block is not what its hash says, or cannot be read.
    pub(crate) fn verify(&self, disk: &Disk, partition: &Partition) -> Result<(), ImageError> {
        let salt = self.salt_bytes();
        let zeros = hash(&salt, &[0; 4096]);
        let mut place = partition.offset + self.offset + BLOCK;
        // From the top down: what hashes are in a level, and which blocks those are of.
        let levels = levels(self.data_blocks);
        for (depth, blocks) in levels.iter().enumerate() {
            let below = place + blocks * BLOCK;
            let (start, count, what) = match levels.get(depth + 1) {
                Some(next) => (below, *next, "the hash tree"),
                None => (partition.offset, self.data_blocks, "/usr"),
            };
            let (mut hashes, mut block) = (vec![0; 4096], vec![0; 4096]);
            for index in 0..count {
                let slot = usize::try_from(index % 128).unwrap_or(0) * HASH;
                if slot == 0 {
                    disk.read(place + index / 128 * BLOCK, &mut hashes)?;
                }
                disk.read(start + index * BLOCK, &mut block)?;
                let found = if block.iter().all(|byte| *byte == 0) { zeros } else { hash(&salt, &block) };
                if found != hashes[slot..slot + HASH] {
                    return Err(ImageError::Damaged {
                        path: disk.path().to_owned(),
                        place: format!("partition {}, block {index} of {what}", partition.number),
                        cause: "it is not what its hash says".to_owned(),
                    });
                }
            }
            place = below;
        }
        Ok(())
    }
}

/// Reads a superblock, or nothing where none is.
fn parse(block: &[u8], offset: u64) -> Result<Option<HashTree>, String> {
    if !block.starts_with(b"verity\0\0") {
        return Ok(None);
    }
    let bytes = |at: usize, length: usize| block.get(at..at + length).unwrap_or_default();
    let le32 = |at| bytes(at, 4).try_into().map_or(0, u32::from_le_bytes);
    let (version, kind) = (le32(8), le32(12));
    if (version, kind) != (1, 1) {
        return Err(format!("version {version} and type {kind} are not known"));
    }
    let algorithm = String::from_utf8_lossy(bytes(32, 32)).trim_end_matches('\0').to_owned();
    if algorithm != "sha256" {
        return Err(format!("the hash function `{algorithm}` is not known"));
    }
    if u64::from(le32(64)) != BLOCK || u64::from(le32(68)) != BLOCK {
        return Err(format!("blocks of {} and {} bytes are not known", le32(64), le32(68)));
    }
    let data_blocks = bytes(72, 8).try_into().map_or(0, u64::from_le_bytes);
    if data_blocks == 0 || data_blocks.saturating_mul(BLOCK) > offset {
        return Err(format!("{data_blocks} blocks of data are not before it"));
    }
    let salt = usize::from(bytes(80, 2).try_into().map_or(0, u16::from_le_bytes));
    if salt > 256 {
        return Err(format!("a salt of {salt} bytes is not possible"));
    }
    let salt = hex::encode(bytes(88, salt));
    Ok(Some(HashTree { offset, algorithm, data_blocks, salt, root_hash: String::new() }))
}

/// How many blocks the levels of a tree have, the topmost first.
fn levels(data_blocks: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut blocks = data_blocks;
    while blocks > 1 || levels.is_empty() {
        blocks = blocks.div_ceil(4096 / HASH as u64);
        levels.insert(0, blocks);
    }
    levels
}

fn hash(salt: &[u8], block: &[u8]) -> [u8; HASH] {
    Sha256::new().chain_update(salt).chain_update(block).finalize().into()
}

/// The root hash in a kernel, where it has one.
pub(super) fn in_kernel(kernel: &[u8]) -> Option<String> {
    KERNEL_PLACES.into_iter().find_map(|place| root_hash(kernel.get(place..place + 64)?))
}

/// A root hash in 64 bytes of text.
pub(super) fn root_hash(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?;
    let is_hash = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hash.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt as _;
    use std::process::Command;

    use camino::Utf8Path;
    use uuid::Uuid;

    use super::*;
    use crate::image::ImageError;

    #[test]
    fn levels_are_those_of_veritysetup() {
        assert_eq!(levels(1), [1]);
        assert_eq!(levels(128), [1]);
        assert_eq!(levels(129), [1, 2]);
        assert_eq!(levels(260_094), [1, 16, 2032]);
    }

    #[test]
    fn a_root_hash_is_64_lower_case_digits_and_nothing_else() {
        let hash = "0123456789abcdef".repeat(4);
        let mut kernel = vec![0; 1024];
        assert_eq!(in_kernel(&kernel), None);
        kernel[512..576].copy_from_slice(hash.as_bytes());
        assert_eq!(in_kernel(&kernel), Some(hash.clone()));
        kernel[64..128].copy_from_slice(hash.as_bytes());
        kernel[100] = b'X';
        assert_eq!(in_kernel(&kernel), Some(hash));
        assert_eq!(in_kernel(b"short"), None);
    }

    #[test]
    fn a_tree_of_veritysetup_is_verified_and_a_changed_byte_is_named() {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = Utf8Path::from_path(scratch.path()).expect("UTF-8").join("usr");
        let size = TREE_OFFSET + (16 << 20);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("created");
        file.set_len(size).expect("sized");
        for block in 0..200_u8 {
            file.write_all_at(&[block + 1; 4096], u64::from(block) * 997 * BLOCK).expect("written");
        }
        let output = Command::new("/usr/sbin/veritysetup")
            .args(["format", "--data-blocks", "260094", "--hash-offset", &TREE_OFFSET.to_string()])
            .args(["--salt", "0102", path.as_str(), path.as_str()])
            .output()
            .expect("veritysetup runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let root = text.lines().find_map(|line| line.strip_prefix("Root hash:")).expect("a hash").trim();
        let partition = Partition {
            number: 3,
            label: "USR-A".to_owned(),
            type_guid: Uuid::nil(),
            type_name: None,
            guid: Uuid::nil(),
            offset: 0,
            size,
            choice: None,
        };
        let disk = Disk::open(&path).expect("opened");
        let tree = HashTree::read(&disk, &partition).expect("sound").expect("there");
        assert_eq!((tree.root_hash.as_str(), tree.salt.as_str(), tree.data_blocks), (root, "0102", 260_094));
        tree.verify(&disk, &partition).expect("whole");
        file.write_all_at(b"x", 997 * BLOCK + 5).expect("written");
        let error = tree.verify(&disk, &partition).expect_err("changed");
        assert!(
            matches!(&error, ImageError::Damaged { place, .. } if place == "partition 3, block 997 of /usr"),
            "{error}"
        );
        file.write_all_at(b"verity\0\0\x02", TREE_OFFSET).expect("written");
        assert!(HashTree::read(&disk, &partition).is_err());
        file.write_all_at(&[0; 8], TREE_OFFSET).expect("written");
        assert_eq!(HashTree::read(&disk, &partition).expect("nothing"), None);
    }
}
