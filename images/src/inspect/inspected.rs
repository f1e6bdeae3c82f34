// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Store;
use serde::Serialize;

use super::base;
use super::inspection::Inspection;
use super::locate::{ReleaseDisk, locate};
use super::read::inspect;
use super::release_files;
use crate::Base;
use crate::disk::Disk;
use crate::image::ImageError;

/// An inspected image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// the disk, not compressed
    pub disk: Utf8PathBuf,
    /// the backing files of the disk, the nearest first
    pub backing_files: Vec<Utf8PathBuf>,
    /// the directory with the files of its release
    pub directory: Utf8PathBuf,
    /// descriptions of the release files there that the harness uses
    pub release_files: Vec<String>,
    /// the base there, a squashfs of the root tree with its package database
    pub base_file: Option<Utf8PathBuf>,
    /// the results
    #[serde(flatten)]
    pub inspection: Inspection,
}

impl Inspected {
    /// Inspects a disk, a disk that is compressed with bzip2, or the directory of a release. Results and
    /// decompressed disks are kept in the store; `progress` receives messages while decompressing.
    ///
    /// # Errors
    /// The path does not exist, is not a Flatcar image or is damaged, a program of the host is missing, or
    /// the store cannot be written.
    pub fn open(path: &Utf8Path, store: &Store, progress: &dyn Fn(&str)) -> Result<Self, ImageError> {
        let ReleaseDisk { disk: path, directory } = locate(path, store, progress)?;
        let disk = Disk::open(&path)?;
        let backing_files = disk.files().into_iter().skip(1).map(Utf8Path::to_owned).collect();
        let mut inspection = inspect(&disk, store)?;
        release_files::add(&mut inspection, &directory);
        let (release_files, base_file) = (release_files::describe(&directory), base::file(&directory));
        Ok(Self { disk: path, backing_files, directory, release_files, base_file, inspection })
    }

    /// The base of Debian packages next to the disk, if there is one. Portage's database is read from the
    /// same file where it is needed.
    ///
    /// # Errors
    /// The base cannot be read, belongs to another release, or does not name its archive.
    pub fn base(&self, store: &Store) -> Result<Option<Base>, ImageError> {
        match &self.base_file {
            Some(file) => base::read(file, &self.inspection.facts(), store),
            None => Ok(None),
        }
    }
}
