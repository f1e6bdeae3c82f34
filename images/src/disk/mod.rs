// SPDX-License-Identifier: Apache-2.0
//! Reads disks in the formats raw and qcow2, as their guests see them.
//!
//! The crate `imago` also reads qcow2. It opens any file that a backing file name leads to, is
//! asynchronous, and does not support clusters compressed with zstd.
mod backing;
mod qcow2;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use self::qcow2::{Extent, Qcow2};
use crate::image::{DiskFormat, ImageError};

/// The size of a block to copy, in bytes; blocks of zeros become holes.
const BLOCK: usize = 64 * 1024;
/// The largest part that is read, in bytes: eight times the size of Flatcar's partitions.
///
/// A small qcow2 file can claim to contain terabytes.
const LARGEST_PART: u64 = 16 << 30;

/// A disk, opened for reading.
#[derive(Debug)]
pub(crate) struct Disk {
    path: Utf8PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Raw {
        file: File,
        length: u64,
    },
    Qcow2 {
        own: RefCell<Qcow2>,
        /// the backing file, read where the file itself has no clusters
        below: Option<Box<Disk>>,
    },
}

impl Disk {
    /// Opens a disk and its backing files, see [`backing`]; the first bytes determine the format.
    ///
    /// # Errors
    /// A file cannot be read or is damaged, or a backing file is not a disk.
    pub(crate) fn open(path: &Utf8Path) -> Result<Self, ImageError> {
        Self::open_above(path, 0)
    }

    /// Opens a disk that is `above` levels of backing files below the one that the caller opened.
    fn open_above(path: &Utf8Path, above: usize) -> Result<Self, ImageError> {
        let file = fs::open_regular(path)?;
        let length = file.metadata().map_err(FileError::at("examine", path))?.len();
        let mut magic = Vec::new();
        (&file).take(4).read_to_end(&mut magic).map_err(FileError::at("read", path))?;
        let content = if magic == qcow2::MAGIC {
            let own = Qcow2::open(file).map_err(|error| damaged(path, "qcow2 header", &error))?;
            let below = own.backing().map(|backing| backing::open(path, backing, above + 1)).transpose()?;
            Content::Qcow2 { own: RefCell::new(own), below: below.map(Box::new) }
        } else {
            Content::Raw { file, length }
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Returns the file of the disk and its backing files.
    pub(crate) fn files(&self) -> Vec<&Utf8Path> {
        let mut files = vec![self.path()];
        if let Content::Qcow2 { below: Some(below), .. } = &self.content {
            files.extend(below.files());
        }
        files
    }

    /// Returns the format of the file.
    pub(crate) fn format(&self) -> DiskFormat {
        match self.content {
            Content::Raw { .. } => DiskFormat::Raw,
            Content::Qcow2 { .. } => DiskFormat::Qcow2,
        }
    }

    /// Returns the size that the guest sees, in bytes.
    pub(crate) fn length(&self) -> u64 {
        match &self.content {
            Content::Raw { length, .. } => *length,
            Content::Qcow2 { own, .. } => own.borrow().length(),
        }
    }

    /// Reads bytes at an offset.
    ///
    /// # Errors
    /// The disk is too short, or a file is damaged.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ImageError> {
        self.read_at(offset, buffer).map_err(|error| damaged(&self.path, format!("byte {offset}"), &error))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &self.content {
            Content::Raw { file, .. } => file.read_exact_at(buffer, offset),
            Content::Qcow2 { own, below } => own.borrow_mut().read(offset, buffer, &|offset, part| {
                if let Some(below) = below {
                    return below.read_below(offset, part);
                }
                part.fill(0);
                Ok(())
            }),
        }
    }

    /// Reads for a disk whose backing file this is; bytes beyond its end are zeros.
    fn read_below(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let left = usize::try_from(self.length().saturating_sub(offset)).unwrap_or(usize::MAX);
        let (own, beyond) = buffer.split_at_mut(left.min(buffer.len()));
        beyond.fill(0);
        if own.is_empty() { Ok(()) } else { self.read_at(offset, own) }
    }

    /// Returns the next offset, from an offset on, where bytes may differ from zero.
    fn next_data(&self, at: u64) -> io::Result<Option<u64>> {
        match &self.content {
            Content::Raw { file, .. } => match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
                Ok(start) => Ok(Some(start)),
                Err(rustix::io::Errno::NXIO) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Content::Qcow2 { own, below } => {
                let (mut at, length) = (at, self.length());
                while at < length {
                    let (extent, end) = own.borrow_mut().extent(at)?;
                    let found = match (extent, below) {
                        (Extent::Data, _) => Some(at),
                        (Extent::Absent, Some(below)) => below.next_data(at)?.filter(|start| *start < end),
                        (Extent::Absent, None) | (Extent::Zeros, _) => None,
                    };
                    if found.is_some() {
                        return Ok(found);
                    }
                    at = end;
                }
                Ok(None)
            }
        }
    }

    /// Calls `each` with every part that contains other bytes than zeros, until it returns `false`.
    fn each_part(
        &self,
        (offset, length): (u64, u64),
        mut each: impl FnMut(u64, &[u8]) -> Result<bool, ImageError>,
    ) -> Result<(), ImageError> {
        let fail = |at: u64| move |error| damaged(&self.path, format!("byte {at}"), &error);
        if length > LARGEST_PART {
            return Err(fail(offset)(io::Error::other(format!(
                "a partition of {length} bytes is too large"
            ))));
        }
        let (mut block, mut at, end) = (vec![0; BLOCK], offset, offset.saturating_add(length));
        while let Some(start) = self.next_data(at).map_err(fail(at))?.filter(|start| *start < end) {
            let count = BLOCK.min(usize::try_from(end - start).unwrap_or(BLOCK));
            let part = &mut block[..count];
            self.read(start, part)?;
            if part.iter().any(|byte| *byte != 0) && !each(start, part)? {
                return Ok(());
            }
            at = start + count as u64;
        }
        Ok(())
    }

    /// Copies a part of the disk to a new file, with holes for zeros.
    ///
    /// # Errors
    /// The disk cannot be read, or the file cannot be written.
    pub(crate) fn extract(&self, offset: u64, length: u64, target: &Utf8Path) -> Result<(), ImageError> {
        let file = fs::create(target)?;
        let write = FileError::at;
        file.set_len(length).map_err(write("write", target))?;
        self.each_part((offset, length), |start, part| {
            file.write_all_at(part, start - offset).map_err(write("write", target))?;
            Ok(true)
        })
    }

    /// Whether a part of the disk contains only zeros.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub(crate) fn is_empty(&self, offset: u64, length: u64) -> Result<bool, ImageError> {
        let mut is_empty = true;
        self.each_part((offset, length), |_, _| {
            is_empty = false;
            Ok(false)
        })?;
        Ok(is_empty)
    }
}

/// Returns an error about the bytes at a place of a disk.
fn damaged(path: &Utf8Path, place: impl Into<String>, error: &io::Error) -> ImageError {
    let place = place.into();
    let cause = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file ends before it".to_owned(),
        _ => error.to_string(),
    };
    ImageError::Damaged { path: path.to_owned(), place, cause }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
