// SPDX-License-Identifier: Apache-2.0
//! Makes a file system of mkfs.btrfs reproducible.
//!
//! In every tree block, including those that a later transaction made obsolete, identifiers and times are
//! replaced, unused space is cleared, and the checksum is recomputed.
//! The layout is that of the "On-disk Format" chapter of the btrfs documentation and of the
//! kernel's `include/uapi/linux/btrfs_tree.h`.
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;

use camino::Utf8Path;
use loadgauge_host::FileError;

use super::{Identity, PackError};

const SUPERBLOCK: u64 = 64 << 10;
const SUPERBLOCK_COPIES: [u64; 2] = [64 << 20, 256 << 30];
const SUPERBLOCK_SIZE: usize = 4096;
const MAGIC: &[u8] = b"_BHRfS_M";
const SECTOR: u64 = 4096;
const HEADER: usize = 101;
const ITEM: usize = 25;
const KEY_POINTER: usize = 33;

// Types of items with an identifier, a time, or uninitialised memory.
const INODE_ITEM: u8 = 1;
const XATTR_ITEM: u8 = 24;
const DIR_ITEM: u8 = 84;
const DIR_INDEX: u8 = 96;
const ROOT_ITEM: u8 = 132;
const DEV_EXTENT: u8 = 204;
const DEV_ITEM: u8 = 216;
const CHUNK_ITEM: u8 = 228;
const UUID_KEY_SUBVOLUME: u8 = 251;

/// Sets all times to the epoch and all identifiers to ones derived from the seed.
pub(super) fn normalise(path: &Utf8Path, identity: &Identity) -> Result<(), PackError> {
    let fail = |reason: &str| PackError::Layout { path: path.to_owned(), reason: reason.to_owned() };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(FileError::at("open", path))?;
    let length = file.metadata().map_err(FileError::at("read", path))?.len();
    let mut superblock = vec![0; SUPERBLOCK_SIZE];
    file.read_exact_at(&mut superblock, SUPERBLOCK).map_err(FileError::at("read", path))?;
    if &superblock[64..72] != MAGIC || u16_at(&superblock, 196) != 0 {
        return Err(fail("the superblock is not one of btrfs with crc32c"));
    }
    let fixed = Fixed {
        filesystem: copy_of(&superblock[32..48]),
        device: *identity.uuid("btrfs device").as_bytes(),
        chunks: *identity.uuid("btrfs chunks").as_bytes(),
        subvolume: *identity.uuid("btrfs subvolume").as_bytes(),
        epoch: u64::from(identity.epoch),
    };
    let node_size = u32_at(&superblock, 148) as usize;
    let blocks = tree_blocks(&file, length, node_size, &fixed, path)?;
    for (offset, mut block) in blocks {
        fixed.block(&mut block).ok_or_else(|| fail("a tree block is malformed"))?;
        seal(&mut block);
        file.write_all_at(&block, offset).map_err(FileError::at("write", path))?;
    }
    fixed.superblock(&mut superblock).ok_or_else(|| fail("the list of system chunks is malformed"))?;
    for offset in std::iter::once(SUPERBLOCK).chain(SUPERBLOCK_COPIES) {
        if offset + SUPERBLOCK_SIZE as u64 <= length {
            superblock[48..56].copy_from_slice(&offset.to_le_bytes());
            seal(&mut superblock);
            file.write_all_at(&superblock, offset).map_err(FileError::at("write", path))?;
        }
    }
    Ok(file.sync_all().map_err(FileError::at("write", path))?)
}

type Block = (u64, Vec<u8>);

/// All blocks with the file system's identifier and a valid checksum.
fn tree_blocks(
    file: &File,
    length: u64,
    size: usize,
    fixed: &Fixed,
    path: &Utf8Path,
) -> Result<Vec<Block>, PackError> {
    let mut found = Vec::new();
    let mut offset = SUPERBLOCK + SECTOR;
    while offset + size as u64 <= length {
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, offset).map_err(FileError::at("read", path))?;
        let is_copy = SUPERBLOCK_COPIES.contains(&offset);
        if header[32..48] == fixed.filesystem && !is_copy {
            let mut block = vec![0; size];
            file.read_exact_at(&mut block, offset).map_err(FileError::at("read", path))?;
            if block[..4] == crc32c::crc32c(&block[32..]).to_le_bytes() {
                found.push((offset, block));
                offset += size as u64;
                continue;
            }
        }
        offset += SECTOR;
    }
    Ok(found)
}

/// The values that replace random and present ones.
struct Fixed {
    filesystem: [u8; 16],
    device: [u8; 16],
    chunks: [u8; 16],
    subvolume: [u8; 16],
    epoch: u64,
}

// These return `None` where the layout is not the expected one.
impl Fixed {
    fn superblock(&self, block: &mut [u8]) -> Option<()> {
        self.device_item(block.get_mut(201..299)?)?;
        let size = u32_at(block, 160) as usize;
        let array = block.get_mut(811..811 + 2048)?.get_mut(..size)?;
        let mut at = 0;
        while at < array.len() {
            let chunk = array.get_mut(at + 17..)?;
            at += 17 + self.chunk_item(chunk)?;
        }
        Some(())
    }

    fn block(&self, block: &mut [u8]) -> Option<()> {
        block[64..80].copy_from_slice(&self.chunks);
        let count = u32_at(block, 96) as usize;
        if block[100] != 0 {
            block.get_mut(HEADER + count * KEY_POINTER..)?.fill(0);
            return Some(());
        }
        let mut used_from = block.len();
        for index in 0..count {
            let at = HEADER + index * ITEM;
            let item = block.get(at..at + ITEM)?;
            let kind = item[8];
            let start = HEADER + u32_at(item, 17) as usize;
            let end = start + u32_at(item, 21) as usize;
            used_from = used_from.min(start);
            if kind == UUID_KEY_SUBVOLUME {
                self.subvolume_key(block.get_mut(at..at + 17)?, count)?;
            }
            self.item(kind, block.get_mut(start..end)?)?;
        }
        block.get_mut(HEADER + count * ITEM..used_from)?.fill(0);
        Some(())
    }

    fn item(&self, kind: u8, data: &mut [u8]) -> Option<()> {
        match kind {
            INODE_ITEM => self.times(data.get_mut(112..160)?),
            ROOT_ITEM => {
                self.times(data.get_mut(112..160)?);
                // Older, shorter items end before the identifiers.
                if let Some(own) = data.get_mut(247..263)
                    && own.iter().any(|byte| *byte != 0)
                {
                    own.copy_from_slice(&self.subvolume);
                }
                if let Some(times) = data.get_mut(327..375) {
                    self.times(times);
                }
            }
            XATTR_ITEM | DIR_ITEM | DIR_INDEX => directory_entries(data)?,
            DEV_ITEM => self.device_item(data)?,
            CHUNK_ITEM => drop(self.chunk_item(data)?),
            DEV_EXTENT => data.get_mut(32..48)?.copy_from_slice(&self.chunks),
            _ => {}
        }
        Some(())
    }

    /// Sets four times; an unset one stays unset.
    fn times(&self, data: &mut [u8]) {
        for time in data.chunks_exact_mut(12).filter(|time| time.iter().any(|byte| *byte != 0)) {
            time[..8].copy_from_slice(&self.epoch.to_le_bytes());
            time[8..].fill(0);
        }
    }

    fn device_item(&self, data: &mut [u8]) -> Option<()> {
        data.get_mut(66..82)?.copy_from_slice(&self.device);
        Some(())
    }

    /// Returns the length of the item.
    fn chunk_item(&self, data: &mut [u8]) -> Option<usize> {
        let stripes = usize::from(u16::from_le_bytes([*data.get(44)?, *data.get(45)?]));
        for stripe in 0..stripes {
            let at = 48 + stripe * 32 + 16;
            data.get_mut(at..at + 16)?.copy_from_slice(&self.device);
        }
        Some(48 + stripes * 32)
    }

    /// The identifier of a subvolume is its key. There is one subvolume and so one such key, and replacing it
    /// keeps the keys in order.
    fn subvolume_key(&self, key: &mut [u8], count: usize) -> Option<()> {
        if count != 1 {
            return None;
        }
        key[..8].copy_from_slice(&self.subvolume[..8]);
        key[9..17].copy_from_slice(&self.subvolume[8..]);
        Some(())
    }
}

/// mkfs.btrfs does not initialise the transaction of a directory entry, which nothing reads. An item has
/// several entries where the hashes of their names are the same.
fn directory_entries(data: &mut [u8]) -> Option<()> {
    let mut at = 0;
    while at < data.len() {
        let entry = data.get_mut(at..at + 30)?;
        entry[17..25].fill(0);
        at += 30 + usize::from(u16_at(entry, 25)) + usize::from(u16_at(entry, 27));
    }
    Some(())
}

fn seal(block: &mut [u8]) {
    let sum = crc32c::crc32c(&block[32..]);
    block[..32].fill(0);
    block[..4].copy_from_slice(&sum.to_le_bytes());
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn copy_of(bytes: &[u8]) -> [u8; 16] {
    let mut copy = [0; 16];
    copy.copy_from_slice(bytes);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uninitialised_memory_is_cleared_in_every_entry_of_an_item() {
        let entry = |transaction: u64, name: &str| {
            let mut entry = vec![7; 17];
            entry.extend(transaction.to_le_bytes());
            entry.extend([0, 0]);
            entry.extend(u16::try_from(name.len()).expect("short").to_le_bytes());
            entry.push(1);
            entry.extend(name.bytes());
            entry
        };
        let mut item = [entry(12_345, "one"), entry(u64::MAX, "another")].concat();
        assert_eq!(directory_entries(&mut item), Some(()));
        assert_eq!(item, [entry(0, "one"), entry(0, "another")].concat());
        assert_eq!(directory_entries(&mut item[..40]), None, "cut short");
    }
}
