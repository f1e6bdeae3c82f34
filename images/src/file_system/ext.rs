// SPDX-License-Identifier: Apache-2.0
//! Reads the inodes and directories of ext2, ext3 and ext4.
//!
//! debugfs(8) is not sufficient. It prints names unescaped, so that its listings are ambiguous, and
//! writes to any path that a name forms.
//!
//! Like debugfs, this reader does not replay the journal. Format: Linux's
//! `Documentation/filesystems/ext4`.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::bytes::{invalid, read, u16_at, u32_at, u64_of};
use super::list;

const SUPERBLOCK: u64 = 1024;
/// The inode of the root directory.
const ROOT: u64 = 2;
/// The supported `INCOMPAT_` features: FILETYPE, RECOVER, EXTENTS, 64BIT, MMP, FLEX_BG, EA_INODE,
/// CSUM_SEED, LARGEDIR and INLINE_DATA.
const FEATURES: u32 = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000;
const FEATURE_64BIT: u32 = 0x80;
/// The flags of an inode.
const ENCRYPTED: u32 = 0x800;
const EXTENTS: u32 = 0x8_0000;
const INLINE_DATA: u32 = 0x1000_0000;
/// The longest target of a link that is stored in the inode itself, in bytes.
const LONGEST_INLINE_LINK: u64 = 59;
/// The size limit of a directory or link target in bytes, larger than any real one.
const LARGEST_DIRECTORY: u64 = 64 << 20;
/// The deepest tree of extents.
const DEEPEST_EXTENTS: u16 = 5;
/// The magic number of a node in a tree of extents.
const EXTENT_MAGIC: u16 = 0xf30a;
/// The magic number of extended attributes.
const ATTRIBUTE_MAGIC: u32 = 0xea02_0000;
/// The size of an inode without the fields that `extra_isize` counts, in bytes.
const PLAIN_INODE: usize = 128;

/// An open file system.
#[derive(Debug)]
pub(super) struct Ext<'a> {
    file: &'a File,
    block: u64,
    blocks: u64,
    inodes: u64,
    inodes_per_group: u64,
    inode_size: u64,
    descriptors: u64,
    descriptor_size: u64,
}

/// An inode.
#[derive(Debug)]
pub(super) struct Inode {
    bytes: Vec<u8>,
}

impl Inode {
    /// Returns the size of the content in bytes.
    pub(super) fn size(&self) -> u64 {
        u64_of(u32_at(&self.bytes, 4), u32_at(&self.bytes, 108))
    }

    fn flags(&self) -> u32 {
        u32_at(&self.bytes, 32)
    }

    /// Returns the root of the block map, or the short target of a link.
    fn map(&self) -> &[u8] {
        self.bytes.get(40..100).unwrap_or_default()
    }

    /// Returns the attributes that follow the other fields, without their magic number.
    fn own_attributes(&self) -> Option<&[u8]> {
        let extra = usize::from(u16_at(&self.bytes, PLAIN_INODE));
        let own = self.bytes.get(PLAIN_INODE + extra..)?;
        (u32_at(own, 0) == ATTRIBUTE_MAGIC).then(|| own.get(4..))?
    }

    /// Returns inline content: the place of the map, followed by the value of an attribute.
    fn inline_data(&self) -> Vec<u8> {
        let mut bytes = self.map().to_vec();
        let list = self.own_attributes().unwrap_or_default();
        if let Some(entry) = attributes(list).flatten().find(Attribute::is_inline_data) {
            bytes.extend(list.get(entry.value.clone()).unwrap_or_default());
        }
        bytes
    }
}

impl list::Inode for Inode {
    fn mode(&self) -> u32 {
        u32::from(u16_at(&self.bytes, 0))
    }

    fn device(&self) -> u32 {
        // The first word contains the old encoding, the second word the new one.
        u32_at(self.map(), 0) | u32_at(self.map(), 4)
    }

    fn owner(&self) -> (u32, u32) {
        let number =
            |low, high| u32::from(u16_at(&self.bytes, low)) | u32::from(u16_at(&self.bytes, high)) << 16;
        (number(2, 120), number(24, 122))
    }
}

/// A run of consecutive blocks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// the first block, counted in the file
    logical: u64,
    /// the first block, counted in the file system
    physical: u64,
    count: u64,
}

impl<'a> Ext<'a> {
    /// Opens a file system and reads its superblock.
    ///
    /// # Errors
    /// The superblock cannot be read, is invalid, or needs a feature that is not supported.
    pub(super) fn open(file: &'a File) -> io::Result<Self> {
        let superblock = read::<1024>(file, SUPERBLOCK)?;
        let (number, short) = (
            |offset| u64::from(u32_at(&superblock, offset)),
            |offset| u64::from(u16_at(&superblock, offset)),
        );
        let features = if number(76) == 0 { 0 } else { u32_at(&superblock, 96) };
        if features & !FEATURES != 0 {
            return Err(invalid(format!("the features {:#x} are not supported", features & !FEATURES)));
        }
        let has_64_bits = features & FEATURE_64BIT != 0;
        let bits = number(24);
        let inode_size = if number(76) == 0 { 128 } else { short(88) };
        let descriptor_size = if has_64_bits { short(254) } else { 32 };
        let is_possible = bits <= 6
            && (128..=1 << 16).contains(&inode_size)
            && (32..=1024).contains(&descriptor_size)
            && number(40) > 0;
        if !is_possible {
            return Err(invalid("the superblock is damaged"));
        }
        let block = 1024 << bits;
        let high = if has_64_bits { u32_at(&superblock, 336) } else { 0 };
        Ok(Self {
            file,
            block,
            blocks: u64_of(u32_at(&superblock, 4), high),
            inodes: number(0),
            inodes_per_group: number(40),
            inode_size,
            descriptors: (number(20) + 1) * block,
            descriptor_size,
        })
    }

    fn read_block(&self, number: u64) -> io::Result<Vec<u8>> {
        if number >= self.blocks {
            return Err(invalid(format!("the block {number} does not exist")));
        }
        let mut bytes = vec![0; usize::try_from(self.block).unwrap_or_default()];
        let offset = number.checked_mul(self.block).ok_or_else(|| invalid("a block is out of range"))?;
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Calls `each` with every stored part of a file's content and its offset in the file.
    ///
    /// # Errors
    /// The content cannot be read, or `each` fails.
    pub(super) fn content(
        &self,
        inode: &Inode,
        mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let size = inode.size();
        if inode.flags() & INLINE_DATA != 0 {
            let bytes = inode.inline_data();
            return each(0, &bytes[..bytes.len().min(usize::try_from(size).unwrap_or(usize::MAX))]);
        }
        for run in self.runs(inode)? {
            for index in 0..run.count {
                let offset = (run.logical + index).saturating_mul(self.block);
                if offset >= size {
                    break;
                }
                let bytes = self.read_block(run.physical + index)?;
                let count = usize::try_from((size - offset).min(self.block)).unwrap_or_default();
                each(offset, &bytes[..count])?;
            }
        }
        Ok(())
    }

    /// Returns the content of a directory or the target of a long link.
    fn small_content(&self, inode: &Inode) -> io::Result<Vec<u8>> {
        let size = inode.size();
        if size > LARGEST_DIRECTORY {
            return Err(invalid(format!("a directory has {size} bytes")));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.content(inode, |offset, part| {
            let offset = usize::try_from(offset).unwrap_or_default();
            bytes[offset..offset + part.len()].copy_from_slice(part);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Returns the target of a link.
    ///
    /// # Errors
    /// The target cannot be read.
    pub(super) fn link_target(&self, inode: &Inode) -> io::Result<Vec<u8>> {
        let size = inode.size();
        if size <= LONGEST_INLINE_LINK && inode.flags() & (EXTENTS | INLINE_DATA) == 0 {
            return Ok(inode.map()[..usize::try_from(size).unwrap_or_default()].to_vec());
        }
        if size > self.block {
            return Err(invalid(format!("the target of a link has {size} bytes")));
        }
        self.small_content(inode)
    }

    /// Returns the blocks of a file, without holes.
    fn runs(&self, inode: &Inode) -> io::Result<Vec<Run>> {
        let flags = inode.flags();
        if flags & ENCRYPTED != 0 {
            return Err(invalid("encryption is not supported"));
        }
        let mut runs = Vec::new();
        let last = inode.size().div_ceil(self.block);
        if flags & EXTENTS != 0 {
            self.extents(inode.map(), DEEPEST_EXTENTS, last, &mut runs)?;
            return Ok(runs);
        }
        let map = inode.map();
        for index in 0..12 {
            add(&mut runs, index, u64::from(u32_at(map, index_of(index))), last);
        }
        let mut logical = 12;
        for level in 0..3 {
            let number = u64::from(u32_at(map, index_of(12 + level)));
            self.indirect(number, level, &mut logical, last, &mut runs)?;
        }
        Ok(runs)
    }

    /// Reads a node of the tree of extents.
    fn extents(&self, node: &[u8], depth_left: u16, last: u64, runs: &mut Vec<Run>) -> io::Result<()> {
        let (magic, count, depth) = (u16_at(node, 0), usize::from(u16_at(node, 2)), u16_at(node, 6));
        if magic != EXTENT_MAGIC || depth > depth_left || 12 + count * 12 > node.len() {
            return Err(invalid("a tree of extents is damaged"));
        }
        for entry in node[12..12 + count * 12].chunks_exact(12) {
            if depth == 0 {
                let length = u64::from(u16_at(entry, 4));
                let physical = u64_of(u32_at(entry, 8), u32::from(u16_at(entry, 6)));
                let logical = u64::from(u32_at(entry, 0));
                // Longer extents are reserved but not written, and read as zeros.
                if length <= 32_768 && logical < last {
                    runs.push(Run { logical, physical, count: length.min(last - logical) });
                }
            } else {
                let child = u64_of(u32_at(entry, 4), u32::from(u16_at(entry, 8)));
                let child = self.read_block(child)?;
                // The depth decreases with each level, so the recursion ends.
                if u16_at(&child, 6) >= depth {
                    return Err(invalid("a tree of extents is damaged"));
                }
                self.extents(&child, depth - 1, last, runs)?;
            }
            if runs.len() as u64 > self.blocks {
                return Err(invalid("a file has more extents than the file system has blocks"));
            }
        }
        Ok(())
    }

    /// Reads a block of block numbers, `level` levels above the blocks that point to data.
    fn indirect(
        &self,
        number: u64,
        level: u64,
        logical: &mut u64,
        last: u64,
        runs: &mut Vec<Run>,
    ) -> io::Result<()> {
        let per_block = self.block / 4;
        if number == 0 || *logical >= last {
            *logical = logical.saturating_add(per_block.pow(u32::try_from(level + 1).unwrap_or(1)));
            return Ok(());
        }
        let block = self.read_block(number)?;
        for entry in block.chunks_exact(4) {
            let number = u64::from(u32_at(entry, 0));
            if level == 0 {
                add(runs, *logical, number, last);
                *logical += 1;
            } else {
                self.indirect(number, level - 1, logical, last, runs)?;
            }
        }
        Ok(())
    }
}

/// Returns the place of a block number in the map of an inode.
fn index_of(index: u64) -> usize {
    usize::try_from(index * 4).unwrap_or_default()
}

/// Appends a block of a file to its runs; block zero is a hole.
fn add(runs: &mut Vec<Run>, logical: u64, physical: u64, last: u64) {
    if physical == 0 || logical >= last {
        return;
    }
    match runs.last_mut() {
        Some(run) if run.logical + run.count == logical && run.physical + run.count == physical => {
            run.count += 1;
        }
        _ => runs.push(Run { logical, physical, count: 1 }),
    }
}

impl list::Reader for Ext<'_> {
    type Inode = Inode;
    const KIND: &'static str = "ext2/3/4";

    fn root(&self) -> u64 {
        ROOT
    }

    fn inode(&self, number: u64) -> io::Result<Inode> {
        if number == 0 || number > self.inodes {
            return Err(invalid(format!("the inode {number} does not exist")));
        }
        let (group, index) = ((number - 1) / self.inodes_per_group, (number - 1) % self.inodes_per_group);
        let mut descriptor = [0; 64];
        let length = usize::try_from(self.descriptor_size.min(64)).unwrap_or(32);
        self.file
            .read_exact_at(&mut descriptor[..length], self.descriptors + group * self.descriptor_size)?;
        let table = u64_of(u32_at(&descriptor, 8), u32_at(&descriptor, 40));
        if table >= self.blocks {
            return Err(invalid("a table of inodes is out of range"));
        }
        let mut bytes = vec![0; usize::try_from(self.inode_size).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, table * self.block + index * self.inode_size)?;
        Ok(Inode { bytes })
    }

    fn directory(&self, inode: &Inode) -> io::Result<Vec<(Vec<u8>, u64)>> {
        let mut names = Vec::new();
        if inode.flags() & INLINE_DATA != 0 {
            // The parent's number comes first; the attribute is a directory block of its own.
            let bytes = inode.inline_data();
            let (map, rest) = bytes.split_at(inode.map().len().min(bytes.len()));
            directory_names(map.get(4..).unwrap_or_default(), &mut names)?;
            directory_names(rest, &mut names)?;
            return Ok(names);
        }
        let bytes = self.small_content(inode)?;
        for block in bytes.chunks(usize::try_from(self.block).unwrap_or(1024)) {
            directory_names(block, &mut names)?;
        }
        Ok(names)
    }

    fn attributes(&self, inode: &Inode) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in attributes(inode.own_attributes().unwrap_or_default()) {
            let entry = entry?;
            if !entry.is_inline_data() {
                names.push(entry.name());
            }
        }
        let block = u64_of(u32_at(&inode.bytes, 104), u32::from(u16_at(&inode.bytes, 118)));
        if block != 0 {
            let bytes = self.read_block(block)?;
            if u32_at(&bytes, 0) != ATTRIBUTE_MAGIC {
                return Err(invalid("a block of attributes is damaged"));
            }
            for entry in attributes(&bytes[32..]) {
                names.push(entry?.name());
            }
        }
        Ok(names)
    }
}

/// Appends the entries in a block of a directory.
fn directory_names(block: &[u8], names: &mut Vec<(Vec<u8>, u64)>) -> io::Result<()> {
    let damaged = || invalid("a directory is damaged");
    let mut rest = block;
    while rest.len() >= 8 {
        let (number, length) = (u32_at(rest, 0), usize::from(u16_at(rest, 4)));
        // The length of a block of 64 KiB does not fit into the field.
        let length = if matches!(length, 0 | 65_535) { rest.len() } else { length };
        let entry = rest.get(..length).filter(|entry| entry.len() >= 8).ok_or_else(damaged)?;
        let name = entry.get(8..8 + usize::from(entry[6])).ok_or_else(damaged)?;
        if number != 0 {
            names.push((name.to_vec(), u64::from(number)));
        }
        rest = &rest[length..];
    }
    Ok(())
}

/// An extended attribute in a list.
struct Attribute<'a> {
    /// the number of the name's prefix
    prefix: u8,
    suffix: &'a [u8],
    /// the place of the value in the list
    value: std::ops::Range<usize>,
}

impl Attribute<'_> {
    fn name(&self) -> String {
        let suffix = String::from_utf8_lossy(self.suffix);
        match self.prefix {
            1 => format!("user.{suffix}"),
            2 => "system.posix_acl_access".to_owned(),
            3 => "system.posix_acl_default".to_owned(),
            4 => format!("trusted.{suffix}"),
            6 => format!("security.{suffix}"),
            7 => format!("system.{suffix}"),
            8 => "system.richacl".to_owned(),
            index => format!("(prefix {index}){suffix}"),
        }
    }

    /// Whether the value is the second part of inline data.
    fn is_inline_data(&self) -> bool {
        self.prefix == 7 && self.suffix == b"data"
    }
}

/// Returns the attributes in a list, which ends with four zeros.
fn attributes(list: &[u8]) -> impl Iterator<Item = io::Result<Attribute<'_>>> {
    let mut rest = list;
    std::iter::from_fn(move || {
        if rest.len() < 16 || u32_at(rest, 0) == 0 {
            return None;
        }
        let length = usize::from(rest[0]);
        let Some(suffix) = rest.get(16..16 + length) else {
            rest = &[];
            return Some(Err(invalid("an attribute is damaged")));
        };
        let start = usize::from(u16_at(rest, 2));
        let size = usize::try_from(u32_at(rest, 8)).unwrap_or(usize::MAX);
        let value = start..start.saturating_add(size);
        let prefix = rest[1];
        rest = rest.get((16 + length).next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Attribute { prefix, suffix, value }))
    })
}
