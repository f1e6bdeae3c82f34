// SPDX-License-Identifier: Apache-2.0
//! A disk as its guest sees it, whatever the format of the file.
mod qcow2;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use self::qcow2::Qcow2;
use super::error::{InspectError, io};
use crate::image::DiskFormat;

/// Bytes that are copied at once; those of them that are all zeros become a hole.
const BLOCK: usize = 64 * 1024;

/// A disk, opened for reading.
#[derive(Debug)]
pub(crate) struct Disk {
    path: Utf8PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Raw { file: File, length: u64 },
    Qcow2(RefCell<Qcow2>),
}

impl Disk {
    /// Opens a disk; what it is stored as is told by its first bytes.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged, or builds on another file.
    pub(crate) fn open(path: &Utf8Path) -> Result<Self, InspectError> {
        let file = File::open(path).map_err(io("open", path))?;
        let length = file.metadata().map_err(io("open", path))?.len();
        let mut magic = Vec::new();
        (&file).take(4).read_to_end(&mut magic).map_err(io("read", path))?;
        let content = if magic == qcow2::MAGIC {
            let disk = Qcow2::open(file).map_err(|error| damaged(path, "header of qcow2", &error))?;
            Content::Qcow2(RefCell::new(disk))
        } else {
            Content::Raw { file, length }
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// How it is stored.
    pub(crate) fn format(&self) -> DiskFormat {
        match self.content {
            Content::Raw { .. } => DiskFormat::Raw,
            Content::Qcow2(_) => DiskFormat::Qcow2,
        }
    }

    /// The guest's size of it, in bytes.
    pub(crate) fn length(&self) -> u64 {
        match &self.content {
            Content::Raw { length, .. } => *length,
            Content::Qcow2(disk) => disk.borrow().length(),
        }
    }

    /// Reads at an offset in bytes.
    ///
    /// # Errors
    /// The disk ends before, or the file is damaged.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), InspectError> {
        let result = match &self.content {
            Content::Raw { file, .. } => file.read_exact_at(buffer, offset),
            Content::Qcow2(disk) => disk.borrow_mut().read(offset, buffer),
        };
        result.map_err(|error| damaged(&self.path, format!("byte {offset}"), &error))
    }

    /// Where the next byte at or after an offset may be that is not zero.
    fn next_data(&self, at: u64) -> Result<Option<u64>, InspectError> {
        match &self.content {
            Content::Raw { file, .. } => match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
                Ok(start) => Ok(Some(start)),
                Err(rustix::io::Errno::NXIO) => Ok(None),
                Err(error) => Err(io("read", &self.path)(error.into())),
            },
            Content::Qcow2(disk) => disk
                .borrow_mut()
                .next_data(at)
                .map_err(|error| damaged(&self.path, format!("byte {at}"), &error)),
        }
    }

    /// Copies a part of it to a new file with holes where all is zero, and says how many bytes were
    /// not.
    ///
    /// # Errors
    /// It cannot be read or the file not written.
    pub(crate) fn extract(&self, offset: u64, length: u64, target: &Utf8Path) -> Result<u64, InspectError> {
        let file = File::create(target).map_err(io("create", target))?;
        file.set_len(length).map_err(io("write", target))?;
        let (mut block, mut written, mut at) = (vec![0; BLOCK], 0, offset);
        let end = offset.saturating_add(length);
        while let Some(start) = self.next_data(at)?.filter(|start| *start < end) {
            let count = BLOCK.min(usize::try_from(end - start).unwrap_or(BLOCK));
            let part = &mut block[..count];
            self.read(start, part)?;
            if part.iter().any(|byte| *byte != 0) {
                file.write_all_at(part, start - offset).map_err(io("write", target))?;
                written += count as u64;
            }
            at = start + count as u64;
        }
        Ok(written)
    }

    /// Whether a part of it is all zeros.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn is_empty(&self, offset: u64, length: u64) -> Result<bool, InspectError> {
        let (mut block, mut at) = (vec![0; BLOCK], offset);
        let end = offset.saturating_add(length);
        while let Some(start) = self.next_data(at)?.filter(|start| *start < end) {
            let count = BLOCK.min(usize::try_from(end - start).unwrap_or(BLOCK));
            let part = &mut block[..count];
            self.read(start, part)?;
            if part.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at = start + count as u64;
        }
        Ok(true)
    }
}

/// Makes an error of what the bytes say, with its place; errors of the host stay what they are.
fn damaged(path: &Utf8Path, place: impl Into<String>, error: &io::Error) -> InspectError {
    let place = place.into();
    let cause = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file ends before".to_owned(),
        _ => error.to_string(),
    };
    InspectError::Damaged { path: path.to_owned(), place, cause }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
