// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::base;
use super::disk::Disk;
use super::inspection::Inspection;
use super::locate::{Located, locate};
use super::read::inspect;
use super::surroundings;
use crate::Base;
use crate::image::ImageError;
use loadgauge_host::Store;

/// An image that was looked into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// its disk, not compressed
    pub disk: Utf8PathBuf,
    /// the disks that it builds on, the nearest first
    pub builds_on: Vec<Utf8PathBuf>,
    /// where the files of its release lie
    pub directory: Utf8PathBuf,
    /// what of its release lies there and is of use, in words
    pub beside: Vec<String>,
    /// the base that lies there, a squashfs of the root tree with its package database
    pub base_file: Option<Utf8PathBuf>,
    /// what was found
    #[serde(flatten)]
    pub found: Inspection,
}

impl Inspected {
    /// Looks into a disk, a disk packed by bzip2, or the directory of a release. What was found once is
    /// kept in the store, as is a disk that was unpacked; `progress` is told of unpacking.
    ///
    /// # Errors
    /// There is no such thing, it is no Flatcar image or damaged, a program of the host is missing, or
    /// the store cannot be written.
    pub fn open(path: &Utf8Path, store: &Store, progress: &dyn Fn(&str)) -> Result<Self, ImageError> {
        let Located { disk: path, directory } = locate(path, store, progress)?;
        let disk = Disk::open(&path)?;
        let builds_on = disk.files().into_iter().skip(1).map(Utf8Path::to_owned).collect();
        let mut found = inspect(&disk, store)?;
        surroundings::consult(&mut found, &directory);
        let (beside, base_file) = (surroundings::beside(&directory), base::file(&directory));
        Ok(Self { disk: path, builds_on, directory, beside, base_file, found })
    }

    /// What extensions are built against, if a base of Debian packages lies beside the disk. Portage's
    /// database is read where it is needed, out of the same file.
    ///
    /// # Errors
    /// The base cannot be read, is of another release, or does not say where its packages are from.
    pub fn base(&self, store: &Store) -> Result<Option<Base>, ImageError> {
        match &self.base_file {
            Some(file) => base::read(file, &self.found.facts(), store),
            None => Ok(None),
        }
    }
}
