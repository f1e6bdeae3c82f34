// SPDX-License-Identifier: Apache-2.0
//! The names of the extended attributes in an erofs.
//!
//! fsck.erofs passes over them before version 1.8, and sets them on the host's files from then on, which
//! only root may; dump.erofs says how large they are and not what they are called. Inodes, directories and
//! attributes are read here, as Linux's `fs/erofs/erofs_fs.h` describes them. Compression has no part in
//! it: mkfs.erofs leaves directories as they are.
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use camino::Utf8PathBuf;

use super::marks::Mark;

/// Where the superblock begins.
const SUPERBLOCK: u64 = 1024;
/// Incompatible features that change nothing of what is read here, up to the prefixes of attributes;
/// after them come wider block addresses and metadata that are compressed.
const FEATURES: u32 = 0x7f;
/// No extension has more directories and attributes, in entries.
const MAXIMUM_ENTRIES: usize = 4 << 20;
/// No directory lies deeper.
const MAXIMUM_DEPTH: usize = 256;

/// Where things are.
struct Erofs<'a> {
    file: &'a File,
    block: u64,
    inodes: u64,
    shared: u64,
    entries: usize,
}

/// An inode, as far as it matters here.
struct Inode {
    is_directory: bool,
    /// how its data lie: 0 plain, 2 with the end behind the inode
    layout: u16,
    size: u64,
    /// the first block of its data
    data: u64,
    /// where its attributes are
    attributes: u64,
    /// how many bytes they take, without those that it shares
    length: u64,
}

/// Every extended attribute of every file.
///
/// # Errors
/// The file system cannot be read, is damaged, or is of a kind that came later.
pub(super) fn marks(file: &File) -> io::Result<Vec<Mark>> {
    let superblock = read::<128>(file, SUPERBLOCK)?;
    let features = u32_at(&superblock, 80);
    if features & !FEATURES != 0 {
        return Err(wrong(&format!("features {features:#x} are not known")));
    }
    let bits = superblock[12];
    if !(9..=16).contains(&bits) || superblock[90] != 0 {
        return Err(wrong("blocks of such a size are not known"));
    }
    let mut erofs = Erofs {
        file,
        block: 1 << bits,
        inodes: u64::from(u32_at(&superblock, 40)) << bits,
        shared: u64::from(u32_at(&superblock, 44)) << bits,
        entries: 0,
    };
    let root = u64::from(u16_at(&superblock, 14));
    let (mut marks, mut seen) = (Vec::new(), HashSet::from([root]));
    let mut waiting = vec![(root, Utf8PathBuf::new(), 0)];
    while let Some((number, path, depth)) = waiting.pop() {
        let inode = erofs.inode(number)?;
        let names = erofs.attributes(&inode)?;
        marks.extend(names.into_iter().map(|name| Mark { path: path.clone(), name }));
        if !inode.is_directory {
            continue;
        }
        for (name, child) in erofs.directory(&inode)? {
            let inside = path.join(&name);
            let is_new = !erofs.inode(child)?.is_directory || seen.insert(child);
            if !is_new || depth == MAXIMUM_DEPTH {
                return Err(wrong("directories lie in each other"));
            }
            waiting.push((child, inside, depth + 1));
        }
    }
    marks.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(marks)
}

impl Erofs<'_> {
    fn count(&mut self) -> io::Result<()> {
        self.entries += 1;
        if self.entries > MAXIMUM_ENTRIES { Err(wrong("it holds too many names")) } else { Ok(()) }
    }

    fn inode(&self, number: u64) -> io::Result<Inode> {
        let place = number.checked_mul(32).and_then(|offset| offset.checked_add(self.inodes));
        let place = place.ok_or_else(|| wrong("an inode lies nowhere"))?;
        let head = read::<32>(self.file, place)?;
        let format = u16_at(&head, 0);
        let (header, size) = if format & 1 == 0 {
            (32, u64::from(u32_at(&head, 8)))
        } else {
            (64, u64::from(u32_at(&head, 8)) | (u64::from(u32_at(&head, 12)) << 32))
        };
        let count = u64::from(u16_at(&head, 2));
        Ok(Inode {
            is_directory: u16_at(&head, 4) & 0o170_000 == 0o040_000,
            layout: (format >> 1) & 7,
            size,
            data: u64::from(u32_at(&head, 16)),
            attributes: place + header,
            // A header of 12 bytes, of which the count has 4.
            length: if count == 0 { 0 } else { 8 + 4 * count },
        })
    }

    /// The names of an inode's attributes: those that it shares with others, and its own.
    fn attributes(&mut self, inode: &Inode) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        if inode.length == 0 {
            return Ok(names);
        }
        let head = read::<12>(self.file, inode.attributes)?;
        let mut place = inode.attributes + 12;
        let end = inode.attributes + inode.length;
        for _ in 0..head[4] {
            let number = u32_at(&read::<4>(self.file, place)?, 0);
            names.push(self.attribute(self.shared + 4 * u64::from(number))?.0);
            place += 4;
        }
        while place + 4 <= end {
            let (name, length) = self.attribute(place)?;
            // What is left of a reserved place is empty.
            if length > 4 {
                names.push(name);
            }
            place += length;
        }
        Ok(names)
    }

    /// The name of an attribute, and how many bytes it takes.
    fn attribute(&mut self, place: u64) -> io::Result<(String, u64)> {
        self.count()?;
        let entry = read::<4>(self.file, place)?;
        let mut suffix = vec![0; usize::from(entry[0])];
        self.file.read_exact_at(&mut suffix, place + 4)?;
        let suffix = String::from_utf8_lossy(&suffix);
        let name = match entry[1] {
            1 => format!("user.{suffix}"),
            2 => "system.posix_acl_access".to_owned(),
            3 => "system.posix_acl_default".to_owned(),
            4 => format!("trusted.{suffix}"),
            6 => format!("security.{suffix}"),
            // With the high bit a longer prefix, from a table of the image.
            index => format!("(prefix {index}){suffix}"),
        };
        let length = 4 + u64::from(entry[0]) + u64::from(u16_at(&entry, 2));
        Ok((name, length.next_multiple_of(4)))
    }

    /// Names and inodes in a directory, without itself and the one above.
    fn directory(&mut self, inode: &Inode) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let blocks = inode.size.div_ceil(self.block);
        for number in 0..blocks {
            let length = (inode.size - number * self.block).min(self.block);
            let is_last = number + 1 == blocks;
            let place = match inode.layout {
                2 if is_last => inode.attributes + inode.length,
                0 | 2 => (inode.data + number) * self.block,
                _ => return Err(wrong("a directory is compressed")),
            };
            let mut block = vec![0; usize::try_from(length).unwrap_or_default()];
            self.file.read_exact_at(&mut block, place)?;
            self.names(&block, &mut found)?;
        }
        Ok(found)
    }

    /// The entries of a block: 12 bytes each, behind them their names.
    fn names(&mut self, block: &[u8], found: &mut Vec<(String, u64)>) -> io::Result<()> {
        let broken = || wrong("a directory is damaged");
        let start = |entry: usize| -> io::Result<usize> {
            let bytes = block.get(entry * 12 + 8..entry * 12 + 10).ok_or_else(broken)?;
            Ok(usize::from(u16_at(bytes, 0)))
        };
        let first = start(0)?;
        if first == 0 || first % 12 != 0 {
            return Err(broken());
        }
        for entry in 0..first / 12 {
            self.count()?;
            let end = if entry + 1 == first / 12 { block.len() } else { start(entry + 1)? };
            let name = block.get(start(entry)?..end).ok_or_else(broken)?;
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let inode = block.get(entry * 12..entry * 12 + 8).ok_or_else(broken)?;
            let inode = u64::from(u32_at(inode, 0)) | (u64::from(u32_at(inode, 4)) << 32);
            if !matches!(name, b"." | b"..") {
                found.push((String::from_utf8_lossy(name).into_owned(), inode));
            }
        }
        Ok(())
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read<const LENGTH: usize>(file: &File, place: u64) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    file.read_exact_at(&mut bytes, place)?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes([bytes[place], bytes[place + 1]])
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes([bytes[place], bytes[place + 1], bytes[place + 2], bytes[place + 3]])
}
