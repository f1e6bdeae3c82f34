// SPDX-License-Identifier: Apache-2.0
//! A disk as its guest sees it, whatever the format of the file.
mod backing;
mod qcow2;

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use self::qcow2::{Extent, Qcow2};
use crate::image::{DiskFormat, ImageError, io};

/// Bytes that are copied at once; those of them that are all zeros become a hole.
const BLOCK: usize = 64 * 1024;
/// No part that is looked through is longer, in bytes; Flatcar's have an eighth of it. A small file of
/// QEMU's format may claim to hold terabytes.
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
        /// what shows where the file itself has nothing
        below: Option<Box<Disk>>,
    },
}

impl Disk {
    /// Opens a disk; what it is stored as is told by its first bytes. What it builds on is opened as
    /// well, if that is a disk, too: see [`below`].
    ///
    /// # Errors
    /// A file cannot be read, or is damaged, or builds on something that is no disk.
    pub(crate) fn open(path: &Utf8Path) -> Result<Self, ImageError> {
        Self::open_above(path, 0)
    }

    /// The same for a disk that so many others build on.
    fn open_above(path: &Utf8Path, above: usize) -> Result<Self, ImageError> {
        // A pipe or a device would keep us waiting.
        let is_file = fs::metadata(path).map_err(io("open", path))?.is_file();
        if !is_file {
            return Err(io("open", path)(io::Error::other("it is not a regular file")));
        }
        let file = File::open(path).map_err(io("open", path))?;
        let length = file.metadata().map_err(io("open", path))?.len();
        let mut magic = Vec::new();
        (&file).take(4).read_to_end(&mut magic).map_err(io("read", path))?;
        let content = if magic == qcow2::MAGIC {
            let own = Qcow2::open(file).map_err(|error| damaged(path, "header of qcow2", &error))?;
            let below = own.backing().map(|backing| backing::open(path, backing, above + 1)).transpose()?;
            Content::Qcow2 { own: RefCell::new(own), below: below.map(Box::new) }
        } else {
            Content::Raw { file, length }
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The files that it consists of: its own, and those that it builds on.
    pub(crate) fn files(&self) -> Vec<&Utf8Path> {
        let mut files = vec![self.path()];
        if let Content::Qcow2 { below: Some(below), .. } = &self.content {
            files.extend(below.files());
        }
        files
    }

    /// How it is stored.
    pub(crate) fn format(&self) -> DiskFormat {
        match self.content {
            Content::Raw { .. } => DiskFormat::Raw,
            Content::Qcow2 { .. } => DiskFormat::Qcow2,
        }
    }

    /// The guest's size of it, in bytes.
    pub(crate) fn length(&self) -> u64 {
        match &self.content {
            Content::Raw { length, .. } => *length,
            Content::Qcow2 { own, .. } => own.borrow().length(),
        }
    }

    /// Reads at an offset in bytes.
    ///
    /// # Errors
    /// The disk ends before, or a file is damaged.
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

    /// Reads for a disk that builds on this one: where this one has ended, there are zeros.
    fn read_below(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let left = usize::try_from(self.length().saturating_sub(offset)).unwrap_or(usize::MAX);
        let (own, beyond) = buffer.split_at_mut(left.min(buffer.len()));
        beyond.fill(0);
        if own.is_empty() { Ok(()) } else { self.read_at(offset, own) }
    }

    /// Where the next byte at or after an offset may be that is not zero.
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

    /// Calls with each part that may be other than zeros, until it says that it has seen enough.
    fn each_part(
        &self,
        (offset, length): (u64, u64),
        mut seen: impl FnMut(u64, &[u8]) -> Result<bool, ImageError>,
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
            if part.iter().any(|byte| *byte != 0) && !seen(start, part)? {
                return Ok(());
            }
            at = start + count as u64;
        }
        Ok(())
    }

    /// Copies a part of it to a new file with holes where all is zero, and says how many bytes were
    /// not.
    ///
    /// # Errors
    /// It cannot be read or the file not written.
    pub(crate) fn extract(&self, offset: u64, length: u64, target: &Utf8Path) -> Result<u64, ImageError> {
        let file = File::create(target).map_err(io("create", target))?;
        file.set_len(length).map_err(io("write", target))?;
        let mut written = 0;
        self.each_part((offset, length), |start, part| {
            file.write_all_at(part, start - offset).map_err(io("write", target))?;
            written += part.len() as u64;
            Ok(true)
        })?;
        Ok(written)
    }

    /// Whether a part of it is all zeros.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn is_empty(&self, offset: u64, length: u64) -> Result<bool, ImageError> {
        let mut is_empty = true;
        self.each_part((offset, length), |_, _| {
            is_empty = false;
            Ok(false)
        })?;
        Ok(is_empty)
    }
}

/// Makes an error of what the bytes say, with its place; errors of the host stay what they are.
fn damaged(path: &Utf8Path, place: impl Into<String>, error: &io::Error) -> ImageError {
    let place = place.into();
    let cause = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file ends before".to_owned(),
        _ => error.to_string(),
    };
    ImageError::Damaged { path: path.to_owned(), place, cause }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
