// SPDX-License-Identifier: Apache-2.0
//! Reads the inodes, directories and attributes of squashfs.
//!
//! unsquashfs(1) is not sufficient: it looks up each directory by the names above it, so that deeply
//! nested directories take minutes, and prints names unescaped.
//!
//! Format: Linux's `fs/squashfs/squashfs_fs.h`.
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use super::bytes::{invalid, read, u16_at, u32_at, u64_at};
use super::list;

/// The size of a block of metadata in bytes, when decompressed.
const BLOCK: usize = 8192;
/// The number of decompressed blocks that are kept.
const KEPT: usize = 2048;
/// The value of a table's offset if there is no table.
const ABSENT: u64 = u64::MAX;
/// The index of an inode without attributes.
const NO_ATTRIBUTES: u32 = u32::MAX;
/// The size limit of a directory in bytes, larger than any real one.
const LARGEST_DIRECTORY: u64 = 64 << 20;
/// The longest target of a link in bytes, as in Linux (`PATH_MAX`).
const LONGEST_LINK: u32 = 4096;
/// The most attributes of a file, more than any real one has.
const MAXIMUM_ATTRIBUTES: u32 = 4096;

/// An open file system.
#[derive(Debug)]
pub(super) struct Squashfs<'a> {
    file: &'a File,
    compression: u16,
    root: u64,
    /// the offset of the inodes, in bytes
    inodes: u64,
    /// the offset of the directories, in bytes
    directories: u64,
    /// the numbers of owners and groups
    ids: Vec<u32>,
    attributes: Option<AttributeTable>,
    /// decompressed blocks and the offsets of the next ones, by their offsets
    blocks: RefCell<HashMap<u64, Block>>,
}

/// The places of extended attributes.
#[derive(Debug)]
struct AttributeTable {
    /// the offset of the names and values, in bytes
    start: u64,
    /// the number of entries in the index
    count: u32,
    /// the offsets of the index's blocks, in bytes
    index: Vec<u64>,
}

/// A decompressed block of metadata.
#[derive(Debug, Clone)]
struct Block {
    bytes: Rc<Vec<u8>>,
    next: u64,
}

/// An inode.
#[derive(Debug)]
pub(super) struct Inode {
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    device: u32,
    /// the block and the offset in it of a directory's entries
    entries: (u32, u16),
    target: Vec<u8>,
    /// the index of the attributes
    attributes: u32,
}

impl list::Inode for Inode {
    fn mode(&self) -> u32 {
        self.mode
    }

    fn device(&self) -> u32 {
        self.device
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

    fn memory(&self) -> usize {
        self.target.len()
    }
}

/// A position in blocks of metadata.
struct Cursor<'a> {
    squashfs: &'a Squashfs<'a>,
    block: Block,
    at: usize,
}

impl Cursor<'_> {
    fn take<const LENGTH: usize>(&mut self) -> io::Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut target: &mut [u8]) -> io::Result<()> {
        while !target.is_empty() {
            if self.at >= self.block.bytes.len() {
                self.block = self.squashfs.block(self.block.next)?;
                self.at = 0;
            }
            let rest = &self.block.bytes[self.at..];
            let count = rest.len().min(target.len());
            if count == 0 {
                return Err(invalid("a block of metadata is empty"));
            }
            target[..count].copy_from_slice(&rest[..count]);
            self.at += count;
            target = &mut target[count..];
        }
        Ok(())
    }
}

impl<'a> Squashfs<'a> {
    /// Opens a file system and reads its superblock and its table of owners.
    ///
    /// # Errors
    /// The superblock cannot be read, is invalid, or needs a feature that is not supported.
    pub(super) fn open(file: &'a File) -> io::Result<Self> {
        let superblock = read::<96>(file, 0)?;
        let version = (u16_at(&superblock, 28), u16_at(&superblock, 30));
        if version != (4, 0) {
            return Err(invalid(format!("version {}.{} is not supported", version.0, version.1)));
        }
        let mut squashfs = Self {
            file,
            compression: u16_at(&superblock, 20),
            root: u64_at(&superblock, 32),
            inodes: u64_at(&superblock, 64),
            directories: u64_at(&superblock, 72),
            ids: Vec::new(),
            attributes: None,
            blocks: RefCell::default(),
        };
        let count = usize::from(u16_at(&superblock, 26));
        for (number, block) in squashfs.table(u64_at(&superblock, 48), count * 4)?.into_iter().enumerate() {
            let left = (count * 4 - number * BLOCK).min(BLOCK);
            let bytes = squashfs.block(block)?.bytes;
            let bytes = bytes.get(..left).ok_or_else(|| invalid("the table of owners is too short"))?;
            squashfs.ids.extend(bytes.chunks_exact(4).map(|id| u32_at(id, 0)));
        }
        let start = u64_at(&superblock, 56);
        if start != ABSENT {
            let head = read::<16>(file, start)?;
            let count = u32_at(&head, 8);
            let length = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(16);
            let index = squashfs.table(start.saturating_add(16), length)?;
            squashfs.attributes = Some(AttributeTable { start: u64_at(&head, 0), count, index });
        }
        Ok(squashfs)
    }

    /// Reads the offsets of the blocks of a table of `length` bytes.
    fn table(&self, offset: u64, length: usize) -> io::Result<Vec<u64>> {
        let count = length.div_ceil(BLOCK);
        let left = self.file.metadata()?.len().saturating_sub(offset);
        if (count as u64).saturating_mul(8) > left {
            return Err(invalid("a table is out of range"));
        }
        let mut bytes = vec![0; count * 8];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.chunks_exact(8).map(|number| u64_at(number, 0)).collect())
    }

    /// Reads a block of metadata.
    fn block(&self, offset: u64) -> io::Result<Block> {
        if let Some(block) = self.blocks.borrow().get(&offset) {
            return Ok(block.clone());
        }
        let header = u16_at(&read::<2>(self.file, offset)?, 0);
        let length = usize::from(header & 0x7fff);
        let start = offset.checked_add(2).ok_or_else(|| invalid("a block is out of range"))?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        if header & 0x8000 == 0 {
            bytes = decompress(self.compression, &bytes)?;
        }
        if bytes.len() > BLOCK {
            return Err(invalid(format!("a block of metadata has {} bytes", bytes.len())));
        }
        let block = Block { bytes: Rc::new(bytes), next: start + length as u64 };
        let mut blocks = self.blocks.borrow_mut();
        if blocks.len() >= KEPT {
            blocks.clear();
        }
        blocks.insert(offset, block.clone());
        Ok(block)
    }

    /// Returns a position in a table of metadata.
    fn cursor(&self, table: u64, block: u64, at: u16) -> io::Result<Cursor<'_>> {
        let offset = table.checked_add(block).ok_or_else(|| invalid("a block is out of range"))?;
        let block = self.block(offset)?;
        if usize::from(at) > block.bytes.len() {
            return Err(invalid("an offset in a block of metadata is out of range"));
        }
        Ok(Cursor { squashfs: self, block, at: usize::from(at) })
    }

    fn id(&self, index: u16) -> io::Result<u32> {
        self.ids.get(usize::from(index)).copied().ok_or_else(|| invalid("an owner does not exist"))
    }
}

/// Returns the block and the offset in a reference to metadata.
fn split(reference: u64) -> (u64, u16) {
    (reference >> 16, (reference & 0xffff) as u16)
}

/// Decompresses a block of metadata.
fn decompress(compression: u16, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut found = Vec::with_capacity(BLOCK);
    let mut read = |decoder: &mut dyn Read| decoder.take(BLOCK as u64 + 1).read_to_end(&mut found);
    match compression {
        1 => read(&mut flate2::read::ZlibDecoder::new(bytes))?,
        4 => read(&mut liblzma::read::XzDecoder::new(bytes))?,
        6 => read(&mut zstd::Decoder::with_buffer(bytes)?)?,
        5 => {
            let decompressed = lz4_flex::block::decompress(bytes, BLOCK);
            return decompressed.map_err(|error| invalid(format!("a block of metadata is damaged: {error}")));
        }
        other => {
            let name =
                ["", "gzip", "lzma", "lzo"].get(usize::from(other)).copied().unwrap_or("of an unknown kind");
            return Err(invalid(format!("the compression {name} is not supported")));
        }
    };
    Ok(found)
}

impl list::Reader for Squashfs<'_> {
    type Inode = Inode;
    const KIND: &'static str = "squashfs";

    fn root(&self) -> u64 {
        self.root
    }

    fn inode(&self, number: u64) -> io::Result<Inode> {
        let (block, offset) = split(number);
        let mut cursor = self.cursor(self.inodes, block, offset)?;
        let head = cursor.take::<16>()?;
        let number = u16_at(&head, 0);
        let is_extended = (8..=14).contains(&number);
        let kind = if is_extended { number - 7 } else { number };
        let mut inode = Inode {
            mode: u32::from(u16_at(&head, 2) & 0o7777),
            uid: self.id(u16_at(&head, 4))?,
            gid: self.id(u16_at(&head, 6))?,
            size: 0,
            device: 0,
            entries: (0, 0),
            target: Vec::new(),
            attributes: NO_ATTRIBUTES,
        };
        inode.mode |= match (kind, is_extended) {
            (1, false) => {
                let rest = cursor.take::<16>()?;
                inode.size = u16_at(&rest, 8).into();
                inode.entries = (u32_at(&rest, 0), u16_at(&rest, 10));
                list::DIRECTORY
            }
            (1, true) => {
                let rest = cursor.take::<24>()?;
                inode.size = u32_at(&rest, 4).into();
                inode.entries = (u32_at(&rest, 8), u16_at(&rest, 18));
                inode.attributes = u32_at(&rest, 20);
                list::DIRECTORY
            }
            (2, false) => {
                inode.size = u32_at(&cursor.take::<16>()?, 12).into();
                list::REGULAR
            }
            (2, true) => {
                let rest = cursor.take::<40>()?;
                inode.size = u64_at(&rest, 8);
                inode.attributes = u32_at(&rest, 36);
                list::REGULAR
            }
            (3, _) => {
                let length = u32_at(&cursor.take::<8>()?, 4);
                if length > LONGEST_LINK {
                    return Err(invalid(format!("the target of a link has {length} bytes")));
                }
                inode.size = length.into();
                inode.target = cursor.bytes(usize::try_from(length).unwrap_or_default())?;
                list::LINK
            }
            (4 | 5, _) => {
                inode.device = u32_at(&cursor.take::<8>()?, 4);
                if kind == 4 { list::BLOCK_DEVICE } else { list::CHARACTER_DEVICE }
            }
            (6 | 7, _) => {
                cursor.take::<4>()?;
                if kind == 6 { list::FIFO } else { list::SOCKET }
            }
            _ => return Err(invalid(format!("the kind {number} of an inode does not exist"))),
        };
        if is_extended && kind > 2 {
            inode.attributes = u32_at(&cursor.take::<4>()?, 0);
        }
        Ok(inode)
    }

    fn directory(&self, inode: &Inode) -> io::Result<Vec<(Vec<u8>, u64)>> {
        if inode.size > LARGEST_DIRECTORY {
            return Err(invalid(format!("a directory has {} bytes", inode.size)));
        }
        // The size includes three bytes for `.` and `..`, which are not stored.
        let mut left = inode.size.saturating_sub(3);
        let mut names = Vec::new();
        if left == 0 {
            return Ok(names);
        }
        let damaged = || invalid("a directory is damaged");
        let mut cursor = self.cursor(self.directories, inode.entries.0.into(), inode.entries.1)?;
        while left > 0 {
            let head = cursor.take::<12>()?;
            left = left.checked_sub(12).ok_or_else(damaged)?;
            let (count, block) = (u32_at(&head, 0), u64::from(u32_at(&head, 4)));
            // The format has at most 256 entries below a header.
            if count > 255 {
                return Err(damaged());
            }
            for _ in 0..=count {
                let entry = cursor.take::<8>()?;
                let name = cursor.bytes(usize::from(u16_at(&entry, 6)) + 1)?;
                left = left.checked_sub(8 + name.len() as u64).ok_or_else(damaged)?;
                names.push((name, block << 16 | u64::from(u16_at(&entry, 0))));
            }
        }
        Ok(names)
    }

    fn link_target(&self, inode: &Inode) -> io::Result<Vec<u8>> {
        Ok(inode.target.clone())
    }

    fn attributes(&self, inode: &Inode) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let Some(table) = self.attributes.as_ref().filter(|_| inode.attributes != NO_ATTRIBUTES) else {
            return Ok(names);
        };
        if inode.attributes >= table.count {
            return Err(invalid("an attribute does not exist"));
        }
        let position = usize::try_from(inode.attributes).unwrap_or(usize::MAX) * 16;
        let block = table.index.get(position / BLOCK).copied().unwrap_or_default();
        let at = u16::try_from(position % BLOCK).unwrap_or_default();
        let entry = self.cursor(0, block, at)?.take::<16>()?;
        let (count, (block, at)) = (u32_at(&entry, 8), split(u64_at(&entry, 0)));
        if count > MAXIMUM_ATTRIBUTES {
            return Err(invalid(format!("a file has {count} attributes")));
        }
        let mut cursor = self.cursor(table.start, block, at)?;
        for _ in 0..count {
            let head = cursor.take::<4>()?;
            let suffix = cursor.bytes(u16_at(&head, 2).into())?;
            let suffix = String::from_utf8_lossy(&suffix);
            names.push(match u16_at(&head, 0) & 0xff {
                0 => format!("user.{suffix}"),
                1 => format!("trusted.{suffix}"),
                2 => format!("security.{suffix}"),
                index => format!("(prefix {index}){suffix}"),
            });
            let length = u32_at(&cursor.take::<4>()?, 0);
            // The kernel's limit of a value (`XATTR_SIZE_MAX`).
            if length > 65_536 {
                return Err(invalid(format!("an attribute has {length} bytes")));
            }
            cursor.bytes(usize::try_from(length).unwrap_or_default())?;
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use list::Reader as _;

    #[test]
    fn a_directory_that_is_too_large_is_refused() {
        let file = tempfile::tempfile().expect("a file");
        let squashfs = Squashfs {
            file: &file,
            compression: 1,
            root: 0,
            inodes: 0,
            directories: 0,
            ids: vec![0],
            attributes: None,
            blocks: RefCell::default(),
        };
        let inode = Inode {
            mode: 0,
            uid: 0,
            gid: 0,
            size: LARGEST_DIRECTORY + 1,
            device: 0,
            entries: (0, 0),
            target: Vec::new(),
            attributes: NO_ATTRIBUTES,
        };
        let error = squashfs.directory(&inode).expect_err("too large");
        assert_eq!(error.to_string(), "a directory has 67108865 bytes");
    }

    #[test]
    fn a_block_of_metadata_that_grows_too_much_is_refused() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 1 << 20]).expect("compressed");
        let bomb = encoder.finish().expect("compressed");
        assert_eq!(
            decompress(1, &bomb).expect("cut").len(),
            BLOCK + 1,
            "the reader refuses more than a block"
        );
        let error = decompress(3, &bomb).expect_err("lzo");
        assert_eq!(error.to_string(), "the compression lzo is not supported");
    }
}
