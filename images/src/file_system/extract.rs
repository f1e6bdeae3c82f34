// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::{FileError, fs};

use super::error::FileSystemError;
use super::kind::FileSystem;
use super::list::ExtendedAttribute;
use super::select::Selection;
use super::tree::Tree;
use super::{btrfs, erofs_extract, ext_extract, squashfs};

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
        let tree = Tree::at(target)?;
        let attributes = match self {
            Self::Btrfs => btrfs::extract(&image, tree.root(), selection)?,
            Self::Ext => ext_extract::extract(&image, tree.root(), selection)?,
            Self::Erofs => erofs_extract::extract(&image, tree.root(), selection)?,
            Self::Squashfs => {
                squashfs::extract(&image, tree.root(), selection)?;
                Vec::new()
            }
        };
        Ok((tree, attributes))
    }
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
