// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use flate2::read::DeflateDecoder;

/// The first bytes of the format.
pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// The bits of a table entry that hold an offset in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The bit of a table entry that marks a compressed cluster.
const COMPRESSED: u64 = 1 << 62;
/// The bit of a table entry that marks a cluster of zeros (version 3).
const ZERO: u64 = 1;
/// Supported incompatible features of version 3: a file that was not closed, and a field for the
/// compression type.
const DIRTY: u64 = 1;
const COMPRESSION_TYPE: u64 = 1 << 3;
/// The type of the header extension with the format of the backing file.
const BACKING_FORMAT: u32 = 0xe279_2aca;
/// The longest path of a backing file, in bytes.
const LONGEST_PATH: usize = 1023;
/// The largest first-level table, in bytes: that of a disk of 2 TiB with clusters of 64 KiB.
const LARGEST_TABLE: u64 = 32 << 20;

/// A reader of qcow2 disks, version 2 or 3, with clusters compressed by zlib or zstd.
///
/// Format: QEMU's `docs/interop/qcow2.txt`.
#[derive(Debug)]
pub(super) struct Qcow2 {
    file: File,
    version: u32,
    cluster_bits: u32,
    length: u64,
    is_zstd: bool,
    backing: Option<Backing>,
    first: Vec<u64>,
    /// the last second-level table that was read, with its offset
    second: Option<(u64, Vec<u64>)>,
    /// the last compressed cluster that was read, with its table entry
    cluster: Option<(u64, Vec<u8>)>,
}

/// The backing file that a header names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backing {
    /// the path, relative to the disk's directory, or an address of another kind
    pub(super) name: String,
    /// the format, absent in files of old versions of `qemu-img`
    pub(super) format: Option<String>,
}

/// The content of a run of clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// bytes in the disk itself
    Data,
    /// zeros, regardless of the backing file
    Zeros,
    /// bytes of the backing file, or zeros without one
    Absent,
}

/// The place of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Absent,
    Zeros,
    At(u64),
    Compressed(u64),
}

fn invalid(cause: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause.into())
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_be_bytes)
}

impl Qcow2 {
    /// Opens a disk and reads its header and first-level table.
    pub(super) fn open(file: File) -> io::Result<Self> {
        let mut header = Vec::new();
        let mut reader = &file;
        rustix::fs::seek(reader, rustix::fs::SeekFrom::Start(0))?;
        reader.by_ref().take(4096).read_to_end(&mut header)?;
        if header.len() < 72 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let version = be32(&header, 4);
        if !(2..=3).contains(&version) {
            return Err(invalid(format!("version {version} of qcow2 is not supported")));
        }
        if be32(&header, 32) != 0 {
            return Err(invalid("it is encrypted, which is not supported"));
        }
        let cluster_bits = be32(&header, 20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(invalid(format!("clusters of 2^{cluster_bits} bytes are invalid")));
        }
        let is_zstd = version == 3 && is_zstd(&header)?;
        let length = be64(&header, 24);
        let first = read_table(&file, be64(&header, 40), u64::from(be32(&header, 36)))?;
        let covered = 1_u64 << (2 * cluster_bits - 3);
        if (first.len() as u64).saturating_mul(covered) < length {
            return Err(invalid(format!("the first-level table is too short for {length} bytes")));
        }
        let backing = backing(&file, &header, version)?;
        let (second, cluster) = (None, None);
        Ok(Self { file, version, cluster_bits, length, is_zstd, backing, first, second, cluster })
    }

    /// Returns the backing file, if there is one.
    pub(super) fn backing(&self) -> Option<&Backing> {
        self.backing.as_ref()
    }

    /// Returns the size that the guest sees, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Reads bytes at an offset; calls `absent` for ranges without clusters in this file.
    pub(super) fn read(
        &mut self,
        mut offset: u64,
        mut buffer: &mut [u8],
        absent: &dyn Fn(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buffer.is_empty() {
            let within = offset % self.cluster_size();
            let left = usize::try_from(self.cluster_size() - within).unwrap_or(usize::MAX);
            let (part, rest) = buffer.split_at_mut(left.min(buffer.len()));
            match self.place(offset)? {
                Place::Absent => absent(offset, part)?,
                Place::Zeros => part.fill(0),
                Place::At(start) => self.read_plain(start + within, part)?,
                Place::Compressed(entry) => {
                    let start = usize::try_from(within).unwrap_or(0);
                    let cluster = self.decompress(entry)?;
                    part.copy_from_slice(&cluster[start..start + part.len()]);
                }
            }
            offset += part.len() as u64;
            buffer = rest;
        }
        Ok(())
    }

    /// Returns the content at an offset, and the earliest offset where it may end.
    pub(super) fn extent(&mut self, at: u64) -> io::Result<(Extent, u64)> {
        let covered = 1_u64 << (2 * self.cluster_bits - 3);
        let index = usize::try_from(at / covered).unwrap_or(usize::MAX);
        let end_of = |size: u64| (at / size).saturating_add(1).saturating_mul(size).min(self.length);
        if self.first.get(index).is_none_or(|entry| entry & OFFSET == 0) {
            return Ok((Extent::Absent, end_of(covered)));
        }
        let end = end_of(self.cluster_size());
        Ok(match self.place(at)? {
            Place::Absent => (Extent::Absent, end),
            Place::Zeros => (Extent::Zeros, end),
            Place::At(_) | Place::Compressed(_) => (Extent::Data, end),
        })
    }

    fn place(&mut self, offset: u64) -> io::Result<Place> {
        let (bits, entries) = (self.cluster_bits, self.cluster_size() / 8);
        let index = usize::try_from(offset >> (2 * bits - 3)).unwrap_or(usize::MAX);
        let table = self.first.get(index).copied().unwrap_or(0) & OFFSET;
        if table == 0 {
            return Ok(Place::Absent);
        }
        if self.second.as_ref().is_none_or(|(place, _)| *place != table) {
            self.second = Some((table, read_table(&self.file, table, entries)?));
        }
        let index = usize::try_from((offset >> bits) % entries).unwrap_or(0);
        let entry = self.second.as_ref().and_then(|(_, table)| table.get(index)).copied().unwrap_or(0);
        Ok(if entry & COMPRESSED != 0 {
            Place::Compressed(entry)
        } else if self.version >= 3 && entry & ZERO != 0 {
            Place::Zeros
        } else if entry & OFFSET == 0 {
            Place::Absent
        } else {
            Place::At(entry & OFFSET)
        })
    }

    /// Reads a cluster; the last one of a file may be cut off.
    fn read_plain(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64)? {
                0 if done == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                0 => break,
                count => done += count,
            }
        }
        buffer[done..].fill(0);
        Ok(())
    }

    fn decompress(&mut self, entry: u64) -> io::Result<&[u8]> {
        if self.cluster.as_ref().is_none_or(|(read, _)| *read != entry) {
            let bits = 62 - (self.cluster_bits - 8);
            let start = entry & ((1 << bits) - 1);
            let sectors = (entry & !COMPRESSED & !(1 << 63)) >> bits;
            let length = (sectors + 1) * 512 - start % 512;
            let mut compressed = vec![0; usize::try_from(length).unwrap_or(0)];
            self.read_plain(start, &mut compressed)?;
            let size = self.cluster_size();
            let mut cluster = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            let result = if self.is_zstd {
                zstd::Decoder::new(compressed.as_slice())?.single_frame().take(size).read_to_end(&mut cluster)
            } else {
                DeflateDecoder::new(compressed.as_slice()).take(size).read_to_end(&mut cluster)
            };
            result.map_err(|error| invalid(format!("a compressed cluster is damaged: {error}")))?;
            if cluster.len() as u64 != size {
                return Err(invalid("a compressed cluster is too short"));
            }
            self.cluster = Some((entry, cluster));
        }
        Ok(self.cluster.as_ref().map_or(&[], |(_, cluster)| cluster.as_slice()))
    }
}

/// Whether a header of version 3 selects zstd for compressed clusters.
fn is_zstd(header: &[u8]) -> io::Result<bool> {
    let features = be64(header, 72);
    if features & !(DIRTY | COMPRESSION_TYPE) != 0 {
        return Err(invalid(format!("the incompatible features {features:#x} are not supported")));
    }
    let kind = if features & COMPRESSION_TYPE == 0 { 0 } else { header.get(104).copied().unwrap_or(0) };
    if kind > 1 {
        return Err(invalid(format!("the compression type {kind} is not supported")));
    }
    Ok(kind == 1)
}

/// Returns the backing file that the header names.
fn backing(file: &File, header: &[u8], version: u32) -> io::Result<Option<Backing>> {
    let (offset, length) = (be64(header, 8), usize::try_from(be32(header, 16)).unwrap_or(usize::MAX));
    if offset == 0 || length == 0 {
        return Ok(None);
    }
    if length > LONGEST_PATH {
        return Err(invalid("the path of its backing file is too long"));
    }
    let mut name = vec![0; length];
    file.read_exact_at(&mut name, offset)?;
    let name = String::from_utf8(name).map_err(|_| invalid("the path of its backing file is not UTF-8"))?;
    let start = if version == 3 { usize::try_from(be32(header, 100)).unwrap_or(usize::MAX) } else { 72 };
    Ok(Some(Backing { name, format: backing_format(header, start) }))
}

/// Finds the format of the backing file in the header extensions.
fn backing_format(header: &[u8], mut at: usize) -> Option<String> {
    loop {
        let fields = header.get(at..at.checked_add(8)?)?;
        let (kind, length) = (be32(fields, 0), usize::try_from(be32(fields, 4)).ok()?);
        let start = at + 8;
        if kind == 0 {
            return None;
        }
        if kind == BACKING_FORMAT {
            return String::from_utf8(header.get(start..start.checked_add(length)?)?.to_vec()).ok();
        }
        at = start.checked_add(length.checked_next_multiple_of(8)?)?;
    }
}

/// Reads a table of big-endian numbers.
fn read_table(file: &File, offset: u64, entries: u64) -> io::Result<Vec<u64>> {
    let length = entries.saturating_mul(8);
    if length > LARGEST_TABLE {
        return Err(invalid(format!("a table of {entries} entries is too large")));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_be_bytes(*chunk)).collect())
}
