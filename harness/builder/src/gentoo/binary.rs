// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};

use camino::Utf8Path;

use super::compression::Compression;
use super::gpkg::{self, GpkgError, read_head};
use super::xpak::{self, Entries, XpakError};

/// A package file, opened: what is written about the package, and its files.
#[derive(Debug)]
pub struct Binary {
    /// values by key, as they lie in `/var/db/pkg/CATEGORY/NAME-VERSION`
    pub entries: Entries,
    /// what stands before the path of each file in the tar
    pub prefix: &'static str,
    file: File,
    start: u64,
    length: u64,
}

/// A package file that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// a file operation failed
    #[error("its bytes cannot be read")]
    Read(#[source] io::Error),
    /// it is no xpak package
    #[error(transparent)]
    Xpak(#[from] XpakError),
    /// it is no gpkg package
    #[error(transparent)]
    Gpkg(#[from] GpkgError),
}

impl Binary {
    /// Opens a package in either format. Which one it is, is told by its end: an xpak package ends
    /// with `STOP`, the end of a tar is zeros.
    ///
    /// # Errors
    /// The file cannot be read or is in neither format.
    pub fn open(path: &Utf8Path) -> Result<Self, BinaryError> {
        let mut file = File::open(path).map_err(BinaryError::Read)?;
        let mut end = [0; 4];
        file.seek(SeekFrom::End(-4)).and_then(|_| file.read_exact(&mut end)).map_err(BinaryError::Read)?;
        if &end == b"STOP" {
            let (length, entries) = xpak::read_end(&mut file)?;
            return Ok(Self { entries, prefix: "", file, start: 0, length });
        }
        let container = gpkg::read(&mut file)?;
        let (start, length) = (container.image_start, container.image_length);
        Ok(Self { entries: container.entries, prefix: "image/", file, start, length })
    }

    /// The text of a value, without the line break at its end.
    pub fn value(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.entries.get(key)?).ok().map(str::trim)
    }

    /// The tar of the files, unpacked while it is read.
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
