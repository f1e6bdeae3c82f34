// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::{FileError, fs};

use super::btrfs::Btrfs;
use super::erofs::Erofs;
use super::error::FileSystemError;
use super::ext::Ext;
use super::ext_extract::LOST_AND_FOUND;
use super::kind::FileSystem;
use super::list::ExtendedAttribute;
use super::metadata::{FileMetadata, describe};
use super::select::Selection;
use super::squashfs::Squashfs;
use super::tree::Tree;
use super::{btrfs_extract, erofs_extract, ext_extract, squashfs_extract};

impl FileSystem {
    /// Extracts files of an image to the same paths below a directory, which is created if necessary.
    ///
    /// Returns the tree, and the extended attributes of the image that the tree lacks. The attributes
    /// are read only if everything is extracted.
    ///
    /// # Errors
    /// See [`FileSystemError`].
    pub fn extract(
        self,
        image: &Utf8Path,
        target: &Utf8Path,
        selection: Selection<'_>,
    ) -> Result<(Tree, Vec<ExtendedAttribute>), FileSystemError> {
        fs::create_dir_all(target)?;
        // The rules of confinement apply to files, so links in these paths do not matter.
        let image = camino::absolute_utf8(image).map_err(FileError::at("resolve", image))?;
        self.check_length(&fs::open(&image)?)?;
        let tree = Tree::at(target)?;
        let attributes = match self {
            Self::Btrfs => btrfs_extract::extract(&image, tree.root(), selection)?,
            Self::Ext => ext_extract::extract(&image, tree.root(), selection)?,
            Self::Erofs => erofs_extract::extract(&image, tree.root(), selection)?,
            Self::Squashfs => {
                squashfs_extract::extract(&image, tree.root(), selection)?;
                Vec::new()
            }
        };
        Ok((tree, attributes))
    }

    /// Lists all files of an image with their metadata, sorted by path, without extracting them. An empty
    /// `lost+found` of ext2, ext3 or ext4 is left out.
    ///
    /// # Errors
    /// The image is damaged or cut off, or contains an invalid name or a loop of directories.
    pub fn list(self, image: &Utf8Path) -> Result<Vec<FileMetadata>, FileSystemError> {
        let file = fs::open(image)?;
        self.check_length(&file)?;
        let read = FileSystemError::read(self.name());
        match self {
            Self::Btrfs => describe(&Btrfs::open(&file).map_err(read)?),
            Self::Ext => {
                let mut files = describe(&Ext::open(&file).map_err(read)?)?;
                if files.iter().filter(|file| file.path.starts_with(LOST_AND_FOUND)).count() == 1 {
                    files.retain(|file| *file.path != *LOST_AND_FOUND);
                }
                Ok(files)
            }
            Self::Erofs => describe(&Erofs::open(&file).map_err(read)?),
            Self::Squashfs => describe(&Squashfs::open(&file).map_err(read)?),
        }
    }
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
