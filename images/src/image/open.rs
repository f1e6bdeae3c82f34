// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::{DiskFormat, Facts, ImageError};
use crate::Base;
use crate::inspect::Inspected;
use loadgauge_host::Store;

/// A bootable Flatcar disk image and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// the disk, read only to everybody
    pub disk: Utf8PathBuf,
    /// how the disk is stored
    pub format: DiskFormat,
    /// SHA-256 of the disk file, in hex; of a disk that builds on others, one over all of theirs
    pub digest: String,
    /// what the harness may rely on
    pub facts: Facts,
    /// what extensions are built against, where a package database of the image is at hand
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// where the other files of its release lie, where that is not beside the disk
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_directory: Option<Utf8PathBuf>,
}

impl Image {
    /// Opens an image by what its disk says: a disk, a disk packed by bzip2, or the directory of a
    /// release. What was found once is kept in `store`, as is a disk that was unpacked.
    ///
    /// What does not go together is told as a warning; `progress` is told, in short phrases, of what
    /// takes long.
    ///
    /// # Errors
    /// There is no such thing, it is no Flatcar image or damaged, or the base beside it is another's.
    pub fn open(path: &Utf8Path, store: &Store, progress: &dyn Fn(&str)) -> Result<Self, ImageError> {
        let inspected = Inspected::open(path, store, progress)?;
        let base = inspected.base(store)?;
        let Inspected { disk, builds_on, directory, found, .. } = inspected;
        for below in builds_on {
            tracing::info!(%disk, "it builds on `{below}`");
        }
        for warning in &found.warnings {
            tracing::warn!(%disk, "{warning}");
        }
        let is_beside = disk.parent() == Some(&directory);
        let release_directory = (!is_beside).then_some(directory);
        let facts = found.facts();
        Ok(Self { disk, format: found.format, digest: found.digest, facts, base, release_directory })
    }

    /// Where the other files of its release lie, if they are at hand.
    pub fn directory(&self) -> &Utf8Path {
        let beside = || self.disk.parent().unwrap_or(Utf8Path::new("."));
        self.release_directory.as_deref().unwrap_or_else(beside)
    }
}
