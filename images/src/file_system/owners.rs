// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};

use super::error::FileSystemError;
use super::kind::FileSystem;
use super::metadata::{FileKind, FileMetadata};

/// A file or directory of an image that does not belong to root.
///
/// Links are left out: their owners have no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOwner {
    /// the file, relative to the root of the file system
    pub path: Utf8PathBuf,
    /// the number of the owning user
    pub uid: u32,
    /// the number of the owning group
    pub gid: u32,
}

impl FileSystem {
    /// Reads which files and directories of an image do not belong to root.
    ///
    /// Extraction cannot keep owners for every user, so they are read from the image.
    ///
    /// # Errors
    /// See [`FileSystem::list`].
    pub fn owners(self, image: &Utf8Path) -> Result<Vec<FileOwner>, FileSystemError> {
        let has_owner = |file: &FileMetadata| {
            matches!(file.kind, FileKind::Regular | FileKind::Directory) && (file.uid, file.gid) != (0, 0)
        };
        let owner = |file: FileMetadata| {
            let path = Utf8PathBuf::from(file.path.to_string_lossy().into_owned());
            FileOwner { path, uid: file.uid, gid: file.gid }
        };
        Ok(self.list(image)?.into_iter().filter(has_owner).map(owner).collect())
    }
}
