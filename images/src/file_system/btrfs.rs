// SPDX-License-Identifier: Apache-2.0
//! Reads the inodes, directories and attributes of btrfs.
//!
//! btrfs(8) is not sufficient: btrfs-restore writes to any path that a name forms, and dump-tree prints
//! names unescaped and no targets of links.
//!
//! The tree of files is read once, each node at most once. Like btrfs-restore, this reader does not replay
//! the log. Format: Linux's `include/uapi/linux/btrfs_tree.h`.
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use super::bytes::{invalid, read, u16_at, u32_at, u64_at};
use super::list;

/// The offset of the first superblock.
const SUPERBLOCK: u64 = 0x1_0000;
/// The size of the fields of a superblock before the array of system chunks, in bytes.
const CHUNK_ARRAY: usize = 0x32b;
/// The size of a key, in bytes.
const KEY: usize = 17;
/// The size of a node's header, in bytes.
const HEADER: usize = 101;
/// The checksum that is verified: CRC-32C.
const CRC32C: u16 = 0;
/// The deepest tree.
const DEEPEST: u8 = 7;
/// The most memory for the tree of files, in bytes.
const MAXIMUM_MEMORY: usize = 1 << 30;
/// Chunks whose stripes hold different bytes: RAID0, RAID10, RAID5 and RAID6.
const STRIPED: u64 = 1 << 3 | 1 << 6 | 1 << 7 | 1 << 8;
/// The numbers of trees and directories.
const FILES: u64 = 5;
const ROOTS_DIRECTORY: u64 = 6;
const ROOT: u64 = 256;
/// The kinds of items.
const INODE_ITEM: u8 = 1;
const XATTR_ITEM: u8 = 24;
const DIR_ITEM: u8 = 84;
const DIR_INDEX: u8 = 96;
const EXTENT_DATA: u8 = 108;
const ROOT_ITEM: u8 = 132;
const CHUNK_ITEM: u8 = 228;

/// An open file system.
#[derive(Debug)]
pub(super) struct Btrfs {
    inodes: BTreeMap<u64, Rc<Inode>>,
}

/// An inode with the names in it.
#[derive(Debug, Default)]
pub(super) struct Inode {
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    device: u64,
    names: Vec<(Vec<u8>, u64)>,
    target: Vec<u8>,
    attributes: Vec<String>,
}

impl list::Inode for Rc<Inode> {
    fn mode(&self) -> u32 {
        self.mode
    }

    fn device(&self) -> u32 {
        u32::try_from(self.device).unwrap_or(u32::MAX)
    }

    fn uid(&self) -> u32 {
        self.uid
    }

    fn gid(&self) -> u32 {
        self.gid
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// The key of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    object: u64,
    kind: u8,
    offset: u64,
}

impl Key {
    fn at(bytes: &[u8], offset: usize) -> Self {
        Self {
            object: u64_at(bytes, offset),
            kind: bytes.get(offset + 8).copied().unwrap_or_default(),
            offset: u64_at(bytes, offset + 9),
        }
    }
}

/// A range of logical addresses with its place on the device.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    logical: u64,
    length: u64,
    physical: u64,
}

/// A reader of trees.
struct Trees<'a> {
    file: &'a File,
    node: usize,
    has_crc32c: bool,
    /// sorted by their logical addresses
    chunks: Vec<Chunk>,
    /// the nodes that were read
    seen: HashSet<u64>,
}

impl Btrfs {
    /// Opens a file system and reads its tree of files.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or has several devices or subvolumes.
    pub(super) fn open(file: &File) -> io::Result<Self> {
        let superblock = read::<4096>(file, SUPERBLOCK)?;
        let has_crc32c = u16_at(&superblock, 0xc4) == CRC32C;
        if has_crc32c && crc32c::crc32c(&superblock[32..]) != u32_at(&superblock, 0) {
            return Err(invalid("the checksum of the superblock is wrong"));
        }
        let node = u32_at(&superblock, 0x94);
        if !node.is_power_of_two() || !(4096..=65_536).contains(&node) {
            return Err(invalid(format!("nodes of {node} bytes are invalid")));
        }
        if u64_at(&superblock, 0x88) != 1 {
            return Err(invalid("several devices are not supported"));
        }
        let node = usize::try_from(node).unwrap_or_default();
        let mut trees = Trees { file, node, has_crc32c, chunks: Vec::new(), seen: HashSet::new() };
        let length = usize::try_from(u32_at(&superblock, 0xa0)).unwrap_or(usize::MAX);
        let array =
            superblock[CHUNK_ARRAY..].get(..length).ok_or_else(|| invalid("the superblock is damaged"))?;
        trees.chunks = system_chunks(array)?;
        let mut chunks = Vec::new();
        trees.walk(u64_at(&superblock, 0x58), superblock[0xc7], &mut |key, item| {
            if key.kind == CHUNK_ITEM {
                chunks.push(chunk(key, item)?);
            }
            Ok(())
        })?;
        trees.chunks.extend(chunks);
        trees.chunks.sort_by_key(|chunk| chunk.logical);
        let mut files = None;
        trees.walk(u64_at(&superblock, 0x50), superblock[0xc6], &mut |key, item| {
            match (key.object, key.kind) {
                (FILES, ROOT_ITEM) => {
                    files = Some((u64_at(item, 176), item.get(238).copied().unwrap_or_default()));
                }
                // The directory of roots names the one that is mounted.
                (ROOTS_DIRECTORY, DIR_ITEM) if Key::at(item, 0).object != FILES => {
                    return Err(invalid("subvolumes are not supported"));
                }
                _ => {}
            }
            Ok(())
        })?;
        let (root, level) = files.ok_or_else(|| invalid("it has no tree of files"))?;
        let (mut inodes, mut memory) = (BTreeMap::<u64, Inode>::new(), 0);
        trees.walk(root, level, &mut |key, item| {
            memory += size_of::<(u64, Inode)>() + item.len();
            if memory > MAXIMUM_MEMORY {
                return Err(invalid("the tree of files is larger than 1 GiB"));
            }
            inodes.entry(key.object).or_default().add(key, item)
        })?;
        Ok(Self { inodes: inodes.into_iter().map(|(number, inode)| (number, Rc::new(inode))).collect() })
    }
}

impl Inode {
    /// Adds what an item says about the inode.
    fn add(&mut self, key: Key, item: &[u8]) -> io::Result<()> {
        match key.kind {
            INODE_ITEM => {
                (self.size, self.device) = (u64_at(item, 16), u64_at(item, 56));
                (self.uid, self.gid, self.mode) = (u32_at(item, 44), u32_at(item, 48), u32_at(item, 52));
            }
            DIR_INDEX => {
                let (location, name, _) = directory_item(item)?;
                if location.kind != INODE_ITEM {
                    return Err(invalid("subvolumes are not supported"));
                }
                self.names.push((name.to_vec(), location.object));
            }
            XATTR_ITEM => {
                // Names with the same hash share an item.
                let mut rest = item;
                while !rest.is_empty() {
                    let (_, name, length) = directory_item(rest)?;
                    self.attributes.push(String::from_utf8_lossy(name).into_owned());
                    rest = &rest[length..];
                }
            }
            // A target is stored in the tree itself and never compressed.
            EXTENT_DATA if self.mode & list::KIND == list::LINK => {
                if item.get(16..21) != Some(&[0; 5]) {
                    return Err(invalid("the target of a link is damaged"));
                }
                // mkfs.btrfs appends a NUL byte.
                let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(item.len() - 21);
                self.target = item[21..21 + length].to_vec();
            }
            _ => {}
        }
        Ok(())
    }
}

impl Trees<'_> {
    /// Calls `each` with every item of a tree, in the order of the keys.
    fn walk(
        &mut self,
        address: u64,
        level: u8,
        each: &mut impl FnMut(Key, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let damaged = || invalid("a tree is damaged");
        if level > DEEPEST || !self.seen.insert(address) {
            return Err(damaged());
        }
        let node = self.read_node(address)?;
        let count = usize::try_from(u32_at(&node, 96)).unwrap_or(usize::MAX);
        if node[100] != level {
            return Err(damaged());
        }
        let size = if level == 0 { KEY + 8 } else { KEY + 16 };
        let end = count.checked_mul(size).ok_or_else(damaged)?;
        let entries = node[HEADER..].get(..end).ok_or_else(damaged)?;
        for entry in entries.chunks_exact(size) {
            if level > 0 {
                self.walk(u64_at(entry, KEY), level - 1, each)?;
                continue;
            }
            let number = |offset| usize::try_from(u32_at(entry, offset)).unwrap_or(usize::MAX);
            let start = HEADER.saturating_add(number(KEY));
            let item = node.get(start..start.saturating_add(number(KEY + 4))).ok_or_else(damaged)?;
            each(Key::at(entry, 0), item)?;
        }
        Ok(())
    }

    fn read_node(&self, address: u64) -> io::Result<Vec<u8>> {
        let mut node = vec![0; self.node];
        self.file.read_exact_at(&mut node, self.physical(address)?)?;
        if u64_at(&node, 48) != address {
            return Err(invalid("a node is not at its address"));
        }
        if self.has_crc32c && crc32c::crc32c(&node[32..]) != u32_at(&node, 0) {
            return Err(invalid(format!("the checksum of the node {address} is wrong")));
        }
        Ok(node)
    }

    /// Returns the place of a node on the device.
    fn physical(&self, address: u64) -> io::Result<u64> {
        let after = self.chunks.partition_point(|chunk| chunk.logical <= address);
        let chunk = self.chunks[..after].last().filter(|chunk| address - chunk.logical < chunk.length);
        let chunk = chunk.ok_or_else(|| invalid("an address is in no chunk"))?;
        chunk.physical.checked_add(address - chunk.logical).ok_or_else(|| invalid("a chunk is out of range"))
    }
}

/// Reads the chunks in the superblock, which hold the tree of chunks.
fn system_chunks(mut array: &[u8]) -> io::Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    while !array.is_empty() {
        let stripes = usize::from(u16_at(array, KEY + 44));
        let length = KEY + 48 + stripes * 32;
        let item = array.get(KEY..length).ok_or_else(|| invalid("a chunk is damaged"))?;
        chunks.push(chunk(Key::at(array, 0), item)?);
        array = &array[length..];
    }
    chunks.sort_by_key(|chunk| chunk.logical);
    Ok(chunks)
}

/// Reads a chunk; copies on other stripes are not needed.
fn chunk(key: Key, item: &[u8]) -> io::Result<Chunk> {
    if item.len() < 80 {
        return Err(invalid("a chunk is damaged"));
    }
    if u64_at(item, 24) & STRIPED != 0 && u16_at(item, 44) != 1 {
        return Err(invalid("striped chunks are not supported"));
    }
    Ok(Chunk { logical: key.offset, length: u64_at(item, 0), physical: u64_at(item, 56) })
}

/// Reads an entry of a directory or of attributes: its location, name and length in bytes.
fn directory_item(item: &[u8]) -> io::Result<(Key, &[u8], usize)> {
    let (value, name) = (usize::from(u16_at(item, 25)), usize::from(u16_at(item, 27)));
    let length = 30 + name + value;
    if item.len() < length {
        return Err(invalid("a directory is damaged"));
    }
    Ok((Key::at(item, 0), &item[30..30 + name], length))
}

impl list::Reader for Btrfs {
    type Inode = Rc<Inode>;
    const KIND: &'static str = "btrfs";

    fn root(&self) -> u64 {
        ROOT
    }

    fn inode(&self, number: u64) -> io::Result<Rc<Inode>> {
        let inode = self.inodes.get(&number).filter(|inode| inode.mode != 0);
        inode.cloned().ok_or_else(|| invalid(format!("the inode {number} does not exist")))
    }

    fn directory(&self, inode: &Rc<Inode>) -> io::Result<Vec<(Vec<u8>, u64)>> {
        Ok(inode.names.clone())
    }

    fn link_target(&self, inode: &Rc<Inode>) -> io::Result<Vec<u8>> {
        Ok(inode.target.clone())
    }

    fn attributes(&self, inode: &Rc<Inode>) -> io::Result<Vec<String>> {
        Ok(inode.attributes.clone())
    }
}
