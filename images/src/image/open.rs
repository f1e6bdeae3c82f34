// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::{DiskFormat, Facts, ImageError};
use crate::Base;
use crate::inspect::Inspected;
use loadgauge_host::Store;

/// A bootable Flatcar disk image and its facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// the disk, which nobody writes to
    pub disk: Utf8PathBuf,
    /// the format of the disk
    pub format: DiskFormat,
    /// SHA-256 of the disk file, in hex; with backing files, one over all of them
    pub digest: String,
    /// the facts that the harness relies on
    pub facts: Facts,
    /// the base for extensions, if a package database of the image is available
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// the directory with the other files of its release, if it is not the directory of the disk
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_directory: Option<Utf8PathBuf>,
}

impl Image {
    /// Opens an image: a disk, a disk that is compressed with bzip2, or the directory of a release. Results
    /// and decompressed disks are kept in `store`.
    ///
    /// Contradictions are logged as warnings; `progress` receives short messages during slow operations.
    ///
    /// # Errors
    /// The path does not exist, is not a Flatcar image or is damaged, or the base next to it belongs to
    /// another release.
    pub fn open(path: &Utf8Path, store: &Store, progress: &dyn Fn(&str)) -> Result<Self, ImageError> {
        let inspected = Inspected::open(path, store, progress)?;
        let base = inspected.base(store)?;
        let Inspected { disk, backing_files, directory, inspection, .. } = inspected;
        for backing_file in backing_files {
            tracing::info!(%disk, "its backing file is `{backing_file}`");
        }
        for warning in &inspection.warnings {
            tracing::warn!(%disk, "{warning}");
        }
        let is_same = disk.parent() == Some(&directory);
        let release_directory = (!is_same).then_some(directory);
        let facts = inspection.facts();
        Ok(Self {
            disk,
            format: inspection.format,
            digest: inspection.digest,
            facts,
            base,
            release_directory,
        })
    }

    /// The directory with the other files of its release, if there are any.
    pub fn directory(&self) -> &Utf8Path {
        let own = || self.disk.parent().unwrap_or(Utf8Path::new("."));
        self.release_directory.as_deref().unwrap_or_else(own)
    }
}
