// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};

use crate::disk::Disk;
use crate::file_system::{
    ExtendedAttribute, FileOwner, FilePattern, FileSystem, FileSystemError, Selection, Tree,
};
use crate::gpt::{Table, find_root};
use crate::image::{DiskFormat, ImageError};

/// The extension-release files, by what their names begin with.
const RELEASES: FilePattern = FilePattern::between("usr/lib/extension-release.d", "extension-release.", "");
/// The same in a file system that is mounted at /usr.
const RELEASES_BELOW_USR: FilePattern =
    FilePattern::between("lib/extension-release.d", "extension-release.", "");

/// An image of a system extension: a file system, or a disk with one in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionImage {
    /// the kind of the file system
    pub file_system: FileSystem,
    /// the directory that its files belong into: `usr`, or none
    pub below: &'static str,
    /// whether it has a signature of its root hash
    pub is_signed: bool,
    /// the file system: the image itself, or a copy of the partition
    content: Utf8PathBuf,
}

/// A file that cannot be read as an image of an extension.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionImageError {
    /// neither a file system nor a disk
    #[error("it is neither squashfs, erofs, ext4, btrfs nor a disk image with a GPT")]
    Unknown,
    /// the disk has other partitions
    #[error("none of its partitions is a root or a /usr file system")]
    NoRoot,
    /// the disk is damaged
    #[error(transparent)]
    Disk(#[from] ImageError),
    /// its files cannot be extracted
    #[error(transparent)]
    FileSystem(#[from] FileSystemError),
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
}

impl ExtensionImageError {
    /// Whether the host lacks something, rather than the image being wrong.
    pub fn is_host(&self) -> bool {
        match self {
            Self::File(_) | Self::Disk(ImageError::File(_)) => true,
            Self::FileSystem(error) => error.is_host(),
            _ => false,
        }
    }

    /// Whether the image was made to write outside of the directory that it is extracted to.
    pub fn is_hostile(&self) -> bool {
        matches!(self, Self::FileSystem(error) if error.is_hostile())
    }
}

impl Hint for ExtensionImageError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Disk(error) => error.hint(),
            Self::FileSystem(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Unknown | Self::NoRoot => None,
        }
    }
}

impl ExtensionImage {
    /// Opens an image. The file system of a disk is copied to `copy`.
    ///
    /// # Errors
    /// It is not an image of an extension, or is damaged.
    pub fn open(image: &Utf8Path, copy: &Utf8Path) -> Result<Self, ExtensionImageError> {
        let file = fs::open_regular(image)?;
        if let Some(file_system) = FileSystem::identify(&file) {
            return Ok(Self { file_system, below: "", is_signed: false, content: image.to_owned() });
        }
        let disk = Disk::open(image)?;
        // systemd-sysext reads raw disks alone.
        if disk.format() != DiskFormat::Raw || !Table::is_on(&disk) {
            return Err(ExtensionImageError::Unknown);
        }
        let table = Table::read(&disk)?;
        let root = find_root(&table).ok_or(ExtensionImageError::NoRoot)?;
        disk.extract(root.partition.offset, root.partition.size, copy)?;
        let file_system = FileSystem::identify(&fs::open(copy)?).ok_or(ExtensionImageError::Unknown)?;
        let content = copy.to_owned();
        Ok(Self { file_system, below: root.below, is_signed: root.is_signed, content })
    }

    /// Extracts all files to a directory. Returns the tree, and the extended attributes that files have in
    /// the image and not in the tree.
    ///
    /// # Errors
    /// See [`FileSystemError`].
    pub fn extract(&self, target: &Utf8Path) -> Result<(Tree, Vec<ExtendedAttribute>), FileSystemError> {
        self.file_system.extract(&self.content, target, Selection::All)
    }

    /// Reads which files and directories do not belong to root; paths are relative to the file system.
    ///
    /// # Errors
    /// See [`FileSystemError`].
    pub fn owners(&self) -> Result<Vec<FileOwner>, FileSystemError> {
        self.file_system.owners(&self.content)
    }

    /// Reads the extension-release files, by the names of the extensions that they are for; other files
    /// may be extracted to `target`, too.
    ///
    /// # Errors
    /// See [`FileSystemError`]; besides, a file is larger than 1 MiB or not UTF-8.
    pub fn releases(&self, target: &Utf8Path) -> Result<BTreeMap<String, String>, FileSystemError> {
        let pattern = if self.below == "usr" { RELEASES_BELOW_USR } else { RELEASES };
        let (tree, _) = self.file_system.extract(&self.content, target, Selection::Files(&[pattern]))?;
        Ok(read_releases(&tree, pattern)?)
    }
}

/// Reads the extension-release files of an extension that is a directory.
///
/// # Errors
/// A file is larger than 1 MiB or not UTF-8.
pub fn releases_of_directory(directory: &Utf8Path) -> Result<BTreeMap<String, String>, FileError> {
    read_releases(&Tree::at(directory)?, RELEASES)
}

fn read_releases(tree: &Tree, pattern: FilePattern) -> Result<BTreeMap<String, String>, FileError> {
    let mut releases = BTreeMap::new();
    for file in tree.names(pattern) {
        let text = tree.text(&format!("{}/{file}", pattern.directory))?.unwrap_or_default();
        releases.insert(file[pattern.prefix.len()..].to_owned(), text);
    }
    Ok(releases)
}
