// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};

use crate::disk::Disk;
use crate::file_system::{
    ExtendedAttribute, FileKind, FileMetadata, FileOwner, FilePattern, FileSystem, FileSystemError,
    Selection, Tree, describe_directory, resolve,
};
use crate::gpt::{Table, find_root};
use crate::image::{DiskFormat, ImageError};

/// The directory of the extension-release files.
const RELEASES: &str = "usr/lib/extension-release.d";
/// The first part of their names.
const RELEASE: &str = "extension-release.";

/// More files than these are not extracted one by one.
const MAXIMUM_PATTERNS: usize = 1000;

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

    /// Whether no guest can use the image, see [`FileSystemError::is_hostile`].
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

    /// Extracts regular files by their paths in the list; other files may be extracted, too. Returns the tree
    /// and the path of each file in it, in the same order.
    ///
    /// # Errors
    /// See [`FileSystemError`].
    pub fn extract_files(
        &self,
        files: &[&Utf8Path],
        target: &Utf8Path,
    ) -> Result<(Tree, Vec<Utf8PathBuf>), FileSystemError> {
        let inside: Vec<&Utf8Path> =
            files.iter().map(|path| path.strip_prefix(self.below).unwrap_or(path)).collect();
        let patterns: Vec<FilePattern<'_>> = inside
            .iter()
            .map(|path| {
                FilePattern::file(path.parent().map_or("", Utf8Path::as_str), path.file_name().unwrap_or(""))
            })
            .collect();
        // Programs get a pattern as an argument for each file, and arguments have a limit.
        let selection =
            if patterns.len() > MAXIMUM_PATTERNS { Selection::All } else { Selection::Files(&patterns) };
        let (tree, _) = self.file_system.extract(&self.content, target, selection)?;
        let paths = inside.iter().map(|path| tree.root().join(path)).collect();
        Ok((tree, paths))
    }

    /// Lists all files, sorted by path, with the paths that they have when the extension is merged: those
    /// of a /usr file system begin with `usr`.
    ///
    /// # Errors
    /// See [`FileSystem::list`].
    pub fn list(&self) -> Result<Vec<FileMetadata>, FileSystemError> {
        let mut files = self.file_system.list(&self.content)?;
        if !self.below.is_empty() {
            for file in &mut files {
                // Joining an empty path would add a slash.
                let is_root = file.path.as_os_str().is_empty();
                file.path = if is_root { self.below.into() } else { Path::new(self.below).join(&file.path) };
            }
        }
        Ok(files)
    }

    /// Reads which files and directories do not belong to root; paths are relative to the file system.
    ///
    /// # Errors
    /// See [`FileSystem::owners`].
    pub fn owners(&self) -> Result<Vec<FileOwner>, FileSystemError> {
        self.file_system.owners(&self.content)
    }

    /// Reads the extension-release files, by the names of the extensions that they are for. Links to other
    /// files of the image are followed, as systemd does. Other files may be extracted to `target`, too.
    ///
    /// # Errors
    /// See [`FileSystemError`]; besides, a file is larger than 1 MiB or not UTF-8.
    pub fn releases(&self, target: &Utf8Path) -> Result<BTreeMap<String, String>, FileSystemError> {
        let mut releases = release_files(&self.list()?);
        let below = Utf8Path::new(self.below);
        for path in releases.values_mut() {
            *path = path.strip_prefix(below).unwrap_or(path).to_owned();
        }
        let parts = releases.values().filter_map(|path| Some((path.parent()?.as_str(), path.file_name()?)));
        let patterns: Vec<FilePattern> =
            parts.map(|(directory, name)| FilePattern::file(directory, name)).collect();
        if patterns.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (tree, _) = self.file_system.extract(&self.content, target, Selection::Files(&patterns))?;
        Ok(read_releases(&tree, &releases)?)
    }
}

/// Lists all files of an extension that is a directory as [`ExtensionImage::list`] does, without their
/// extended attributes.
///
/// # Errors
/// A file cannot be read.
pub fn list_directory(directory: &Utf8Path) -> Result<Vec<FileMetadata>, FileError> {
    describe_directory(directory)
}

/// Reads the extension-release files of an extension that is a directory.
///
/// # Errors
/// A file is larger than 1 MiB or not UTF-8.
pub fn releases_of_directory(directory: &Utf8Path) -> Result<BTreeMap<String, String>, FileError> {
    read_releases(&Tree::at(directory)?, &release_files(&describe_directory(directory)?))
}

/// Finds the extension-release files, by the names of the extensions that they are for.
fn release_files(files: &[FileMetadata]) -> BTreeMap<String, Utf8PathBuf> {
    let own = files.iter().filter(|file| file.path.parent() == Some(Path::new(RELEASES)));
    let found = own.filter_map(|file| {
        let name = file.path.file_name()?.to_str()?.strip_prefix(RELEASE)?.to_owned();
        let file = resolve(files, &file.path).filter(|file| file.kind == FileKind::Regular)?;
        Some((name, Utf8PathBuf::from_path_buf(file.path.clone()).ok()?))
    });
    found.collect()
}

fn read_releases(
    tree: &Tree,
    releases: &BTreeMap<String, Utf8PathBuf>,
) -> Result<BTreeMap<String, String>, FileError> {
    let read = |(name, path): (&String, &Utf8PathBuf)| {
        Ok((name.clone(), tree.text(path.as_str())?.unwrap_or_default()))
    };
    releases.iter().map(read).collect()
}
