// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};

use super::compression::Compression;
use super::gpkg::{self, GpkgError, read_head};
use super::xpak::{self, Entries, XpakError};

/// An open package file: the metadata of the package, and its files.
#[derive(Debug)]
pub struct BinaryPackage {
    /// the metadata by key, as in `/var/db/pkg/CATEGORY/NAME-VERSION`
    pub entries: Entries,
    /// the prefix of all paths in the tar
    pub prefix: &'static str,
    file: File,
    start: u64,
    length: u64,
}

/// A package file that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// the file cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// the file is not a valid xpak package
    #[error(transparent)]
    Xpak(#[from] XpakError),
    /// the file is not a valid gpkg package
    #[error(transparent)]
    Gpkg(#[from] GpkgError),
}

impl BinaryPackage {
    /// Opens a package in the xpak or gpkg format. An xpak package ends with `STOP`, a gpkg package with
    /// the zeros of a tar.
    ///
    /// # Errors
    /// The file cannot be read or has neither format.
    pub fn open(path: &Utf8Path) -> Result<Self, BinaryError> {
        let mut file = fs::open(path)?;
        let mut end = [0; 4];
        file.seek(SeekFrom::End(-4))
            .and_then(|_| file.read_exact(&mut end))
            .map_err(FileError::at("read", path))?;
        if &end == b"STOP" {
            let (length, entries) = xpak::read_end(&mut file)?;
            return Ok(Self { entries, prefix: "", file, start: 0, length });
        }
        let container = gpkg::read(&mut file)?;
        let (start, length) = (container.image_start, container.image_length);
        Ok(Self { entries: container.entries, prefix: "image/", file, start, length })
    }

    /// A value of the metadata, trimmed.
    pub fn value(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.entries.get(key)?).ok().map(str::trim)
    }

    /// A reader of the decompressed tar of the files.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn files(&mut self) -> io::Result<Box<dyn Read + '_>> {
        self.file.seek(SeekFrom::Start(self.start))?;
        let mut inside = BufReader::with_capacity(1 << 18, (&self.file).take(self.length));
        let mut head = [0; 6];
        let length = read_head(&mut inside, &mut head)?;
        let whole = io::Cursor::new(head[..length].to_vec()).chain(inside);
        Compression::of(&head[..length]).decoder(whole)
    }
}
