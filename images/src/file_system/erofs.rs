// SPDX-License-Identifier: Apache-2.0
//! Reads the inodes, directories and attributes of erofs.
//!
//! The programs of erofs-utils are not sufficient:
//!
//! - fsck.erofs writes to any path that a name forms.
//! - fsck.erofs ignores extended attributes before version 1.8. Later versions set them on the host's
//!   files, which only root may do.
//! - dump.erofs prints the size of attributes, but not their names.
//!
//! mkfs.erofs never compresses directories, so this reader needs no decompression. Format: Linux's
//! `fs/erofs/erofs_fs.h`.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::bytes::{invalid, read, u16_at, u32_at, u64_of};
use super::list;

/// The offset of the superblock.
const SUPERBLOCK: u64 = 1024;
/// Incompatible features that do not affect this reader, up to the prefixes of attributes.
///
/// Wider block addresses and compressed metadata have higher bits.
const FEATURES: u32 = 0x7f;
/// The size limit of a directory in bytes, larger than any real one.
const LARGEST_DIRECTORY: u64 = 64 << 20;

/// An open file system.
#[derive(Debug)]
pub(super) struct Erofs<'a> {
    file: &'a File,
    /// the size of a block in bytes
    block: u64,
    /// the offset of inodes, in bytes
    inodes: u64,
    /// the offset of shared attributes, in bytes
    shared: u64,
    root: u64,
}

/// An inode.
#[derive(Debug)]
pub(super) struct Inode {
    mode: u32,
    /// the layout of the content: 0 in blocks, 2 with the last part after the inode
    layout: u16,
    size: u64,
    /// the first block of the content, or a device number
    data: u32,
    /// the numbers of the owning user and group
    owner: (u32, u32),
    /// the offset of the attributes, in bytes
    attributes: u64,
    /// the size of the attributes in bytes, without shared ones
    length: u64,
}

impl list::Inode for Inode {
    fn mode(&self) -> u32 {
        self.mode
    }

    fn device(&self) -> u32 {
        self.data
    }

    fn owner(&self) -> (u32, u32) {
        self.owner
    }
}

impl<'a> Erofs<'a> {
    /// Opens a file system and reads its superblock.
    ///
    /// # Errors
    /// The superblock cannot be read, or needs a feature that is not supported.
    pub(super) fn open(file: &'a File) -> io::Result<Self> {
        let superblock = read::<128>(file, SUPERBLOCK)?;
        let features = u32_at(&superblock, 80);
        if features & !FEATURES != 0 {
            return Err(invalid(format!("the features {:#x} are not supported", features & !FEATURES)));
        }
        let bits = superblock[12];
        if !(9..=16).contains(&bits) || superblock[90] != 0 {
            return Err(invalid("its size of blocks is not supported"));
        }
        Ok(Self {
            file,
            block: 1 << bits,
            inodes: u64::from(u32_at(&superblock, 40)) << bits,
            shared: u64::from(u32_at(&superblock, 44)) << bits,
            root: u64::from(u16_at(&superblock, 14)),
        })
    }

    /// Returns the name of an attribute, and its size in bytes.
    fn attribute(&self, offset: u64) -> io::Result<(String, u64)> {
        let entry = read::<4>(self.file, offset)?;
        let mut suffix = vec![0; usize::from(entry[0])];
        self.file.read_exact_at(&mut suffix, offset + 4)?;
        let suffix = String::from_utf8_lossy(&suffix);
        let name = match entry[1] {
            1 => format!("user.{suffix}"),
            2 => "system.posix_acl_access".to_owned(),
            3 => "system.posix_acl_default".to_owned(),
            4 => format!("trusted.{suffix}"),
            6 => format!("security.{suffix}"),
            // The high bit selects a longer prefix from a table of the image.
            index => format!("(prefix {index}){suffix}"),
        };
        let length = 4 + u64::from(entry[0]) + u64::from(u16_at(&entry, 2));
        Ok((name, length.next_multiple_of(4)))
    }
}

impl list::Reader for Erofs<'_> {
    type Inode = Inode;
    const KIND: &'static str = "erofs";

    fn root(&self) -> u64 {
        self.root
    }

    fn inode(&self, number: u64) -> io::Result<Inode> {
        let offset = number.checked_mul(32).and_then(|offset| offset.checked_add(self.inodes));
        let offset = offset.ok_or_else(|| invalid("an inode is out of range"))?;
        let head = read::<32>(self.file, offset)?;
        let format = u16_at(&head, 0);
        let (header, size, owner) = if format & 1 == 0 {
            let owner = (u32::from(u16_at(&head, 24)), u32::from(u16_at(&head, 26)));
            (32, u64::from(u32_at(&head, 8)), owner)
        } else {
            let owner = (u32_at(&head, 24), u32_at(&head, 28));
            (64, u64_of(u32_at(&head, 8), u32_at(&head, 12)), owner)
        };
        let count = u64::from(u16_at(&head, 2));
        Ok(Inode {
            mode: u32::from(u16_at(&head, 4)),
            layout: (format >> 1) & 7,
            size,
            data: u32_at(&head, 16),
            owner,
            attributes: offset + header,
            // The header has 12 bytes, and `count` includes 4 of them.
            length: if count == 0 { 0 } else { 8 + 4 * count },
        })
    }

    /// Returns the names of an inode's attributes, shared ones first.
    fn attributes(&self, inode: &Inode) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        if inode.length == 0 {
            return Ok(names);
        }
        let head = read::<12>(self.file, inode.attributes)?;
        let mut offset = inode.attributes + 12;
        let end = inode.attributes + inode.length;
        for _ in 0..head[4] {
            let number = u32_at(&read::<4>(self.file, offset)?, 0);
            names.push(self.attribute(self.shared + 4 * u64::from(number))?.0);
            offset += 4;
        }
        while offset + 4 <= end {
            let (name, length) = self.attribute(offset)?;
            // The rest of a reserved area is empty.
            if length > 4 {
                names.push(name);
            }
            offset += length;
        }
        Ok(names)
    }

    fn directory(&self, inode: &Inode) -> io::Result<Vec<(Vec<u8>, u64)>> {
        if inode.size > LARGEST_DIRECTORY {
            return Err(invalid(format!("a directory has {} bytes", inode.size)));
        }
        let mut found = Vec::new();
        let blocks = inode.size.div_ceil(self.block);
        for number in 0..blocks {
            let length = (inode.size - number * self.block).min(self.block);
            let is_last = number + 1 == blocks;
            let offset = match inode.layout {
                2 if is_last => inode.attributes + inode.length,
                0 | 2 => (u64::from(inode.data) + number) * self.block,
                _ => return Err(invalid("a directory is compressed")),
            };
            let mut block = vec![0; usize::try_from(length).unwrap_or_default()];
            self.file.read_exact_at(&mut block, offset)?;
            names(&block, &mut found)?;
        }
        Ok(found)
    }
}

/// Appends the entries of a block: 12 bytes each, followed by their names.
fn names(block: &[u8], found: &mut Vec<(Vec<u8>, u64)>) -> io::Result<()> {
    let damaged = || invalid("a directory is damaged");
    let start = |entry: usize| -> io::Result<usize> {
        let bytes = block.get(entry * 12 + 8..entry * 12 + 10).ok_or_else(damaged)?;
        Ok(usize::from(u16_at(bytes, 0)))
    };
    let first = start(0)?;
    if first == 0 || first % 12 != 0 {
        return Err(damaged());
    }
    for entry in 0..first / 12 {
        let is_last = entry + 1 == first / 12;
        let end = if is_last { block.len() } else { start(entry + 1)? };
        let mut name = block.get(start(entry)?..end).ok_or_else(damaged)?;
        if is_last {
            // Zeros fill the rest of the block.
            name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        }
        let inode = block.get(entry * 12..entry * 12 + 8).ok_or_else(damaged)?;
        found.push((name.to_vec(), u64_of(u32_at(inode, 0), u32_at(inode, 4))));
    }
    Ok(())
}
