// SPDX-License-Identifier: Apache-2.0
use serde::{Deserialize, Serialize};

use super::hash::{BLOCK, DIGEST, DIGESTS, Salted, levels};
use super::superblock::{ALGORITHM, Superblock};
use crate::disk::Disk;
use crate::gpt::Partition;
use crate::image::ImageError;

/// Where the hash tree of Flatcar's /usr begins in its partition, in bytes: after 260094 blocks of
/// 4096 (`build_library/disk_layout.json`, `fs_blocks`).
const TREE_OFFSET: u64 = 1_065_345_024;
/// The size of a block as a number of bytes on a disk.
const SIZE: u64 = BLOCK as u64;

/// The hash tree by which dm-verity verifies /usr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashTree {
    /// its offset in the partition, in bytes
    pub offset: u64,
    /// the hash function
    pub algorithm: String,
    /// the number of blocks of 4096 bytes that it covers
    pub data_blocks: u64,
    /// the salt, in hex
    pub salt: String,
    /// the hash of the tree's topmost block, in hex
    pub root_hash: String,
}

impl HashTree {
    /// Reads the hash tree behind the file system of /usr; `None` where there is none.
    ///
    /// # Errors
    /// The superblock is damaged, or its parameters are not supported.
    pub(crate) fn read(disk: &Disk, partition: &Partition) -> Result<Option<Self>, ImageError> {
        if partition.size < TREE_OFFSET + 2 * SIZE {
            return Ok(None);
        }
        let mut bytes = vec![0; 512];
        disk.read(partition.offset + TREE_OFFSET, &mut bytes)?;
        let fail = |cause: String| ImageError::Damaged {
            path: disk.path().to_owned(),
            place: format!("hash tree of partition {}", partition.number),
            cause,
        };
        let Some(superblock) = Superblock::parse(&bytes).map_err(fail)? else { return Ok(None) };
        let Superblock { data_blocks, salt, .. } = superblock;
        if data_blocks == 0 || data_blocks.saturating_mul(SIZE) > TREE_OFFSET {
            return Err(fail(format!("{data_blocks} data blocks do not fit before it")));
        }
        let end = TREE_OFFSET + SIZE * (1 + levels(data_blocks).iter().sum::<u64>());
        if end > partition.size {
            return Err(fail(format!("hashes of {data_blocks} blocks do not fit into the partition")));
        }
        let mut top = vec![0; BLOCK];
        disk.read(partition.offset + TREE_OFFSET + SIZE, &mut top)?;
        Ok(Some(Self {
            offset: TREE_OFFSET,
            algorithm: ALGORITHM.to_owned(),
            data_blocks,
            root_hash: hex::encode(Salted::new(&salt).digest(&top)),
            salt: hex::encode(salt),
        }))
    }

    /// Verifies every block of /usr and of the tree.
    ///
    /// # Errors
    /// A block does not match its hash, or cannot be read; the first one is named.
    pub(crate) fn verify(&self, disk: &Disk, partition: &Partition) -> Result<(), ImageError> {
        let salted = Salted::new(&hex::decode(&self.salt).unwrap_or_default());
        let zeros = salted.digest(&[0; BLOCK]);
        let mut hashes_at = partition.offset + self.offset + SIZE;
        // From the top down: the hashes of a level, and the blocks that they are of.
        let levels = levels(self.data_blocks);
        for (depth, blocks) in levels.iter().enumerate() {
            let below = hashes_at + blocks * SIZE;
            let (start, count, name) = match levels.get(depth + 1) {
                Some(next) => (below, *next, "the hash tree"),
                None => (partition.offset, self.data_blocks, "/usr"),
            };
            let (mut hashes, mut block) = (vec![0; BLOCK], vec![0; BLOCK]);
            for index in 0..count {
                let slot = usize::try_from(index % DIGESTS).unwrap_or(0) * DIGEST;
                if slot == 0 {
                    disk.read(hashes_at + index / DIGESTS * SIZE, &mut hashes)?;
                }
                disk.read(start + index * SIZE, &mut block)?;
                let found = if block.iter().all(|byte| *byte == 0) { zeros } else { salted.digest(&block) };
                if found != hashes[slot..slot + DIGEST] {
                    return Err(ImageError::Damaged {
                        path: disk.path().to_owned(),
                        place: format!("partition {}, block {index} of {name}", partition.number),
                        cause: "it does not match its hash".to_owned(),
                    });
                }
            }
            hashes_at = below;
        }
        Ok(())
    }
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
    fn a_tree_of_veritysetup_is_verified_and_a_changed_byte_is_named() {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = Utf8Path::from_path(scratch.path()).expect("UTF-8").join("usr");
        let size = TREE_OFFSET + (16 << 20);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("created");
        file.set_len(size).expect("sized");
        for block in 0..200_u8 {
            file.write_all_at(&[block + 1; 4096], u64::from(block) * 997 * SIZE).expect("written");
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
        file.write_all_at(b"x", 997 * SIZE + 5).expect("written");
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
