// SPDX-License-Identifier: Apache-2.0
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};

use super::bytes::invalid;
use super::error::FileSystemError;
use super::list::{
    BLOCK_DEVICE, CHARACTER_DEVICE, DIRECTORY, FIFO, Inode as _, KIND, LINK, REGULAR, Reader, SOCKET, list,
};

/// The number of links that are followed in a path, as in Linux.
const MAXIMUM_LINKS: usize = 40;

/// A file of an image, as the image describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMetadata {
    /// the path, relative to the root of the file system; empty for the root itself
    pub path: PathBuf,
    /// the kind of the file
    pub kind: FileKind,
    /// the permission bits, with set-id and sticky bits
    pub mode: u32,
    /// the number of the owner
    pub uid: u32,
    /// the number of the group
    pub gid: u32,
    /// the size of the content in bytes
    pub size: u64,
    /// the number of a device, in the encoding of the format; zero for a whiteout of overlayfs
    pub device: u32,
    /// the target of a symbolic link
    pub target: Option<PathBuf>,
    /// the number of the inode, which hard links share
    pub inode: u64,
    /// the names of the extended attributes, such as `user.extension-release.strict`
    pub attributes: Vec<String>,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// a regular file
    Regular,
    /// a directory
    Directory,
    /// a symbolic link
    Link,
    /// a named pipe
    Fifo,
    /// a socket
    Socket,
    /// a character device, or a whiteout of overlayfs, which is one with the number zero
    CharacterDevice,
    /// a block device
    BlockDevice,
}

impl FileKind {
    /// Returns the kind in a mode, if the mode is valid.
    fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & KIND {
            REGULAR => Self::Regular,
            DIRECTORY => Self::Directory,
            LINK => Self::Link,
            FIFO => Self::Fifo,
            SOCKET => Self::Socket,
            CHARACTER_DEVICE => Self::CharacterDevice,
            BLOCK_DEVICE => Self::BlockDevice,
            _ => return None,
        })
    }
}

/// Finds the file that a path leads to in a sorted list. Links lead to files of the list, with the root of
/// the list as `/`.
pub(crate) fn resolve<'a>(files: &'a [FileMetadata], path: &Path) -> Option<&'a FileMetadata> {
    let find = |path: &Path| {
        let index = files.binary_search_by(|file| file.path.as_path().cmp(path)).ok()?;
        files.get(index)
    };
    let (mut found, mut rest, mut links) = (PathBuf::new(), path.to_owned(), 0);
    while let Some(part) = rest.components().next() {
        let after: PathBuf = rest.components().skip(1).collect();
        match part {
            Component::ParentDir => drop(found.pop()),
            Component::Normal(name) => found.push(name),
            Component::RootDir => found = PathBuf::new(),
            Component::CurDir | Component::Prefix(_) => {}
        }
        rest = after;
        if let Some(target) = find(&found).and_then(|file| file.target.as_ref()) {
            links += 1;
            if links > MAXIMUM_LINKS {
                return None;
            }
            found.pop();
            rest = target.join(rest);
        }
    }
    find(&found)
}

/// Describes all files of an image, sorted by path.
///
/// # Errors
/// See [`list`].
pub(super) fn describe<R: Reader>(reader: &R) -> Result<Vec<FileMetadata>, FileSystemError> {
    let mut files = Vec::new();
    for entry in list(reader)? {
        let inode = &entry.inode;
        let kind = FileKind::of_mode(inode.mode())
            .ok_or_else(|| invalid(format!("the mode {:o} does not exist", inode.mode())))
            .map_err(FileSystemError::read(R::KIND))?;
        let target = (kind == FileKind::Link).then(|| reader.link_target(inode)).transpose();
        let target = target.map_err(FileSystemError::read(R::KIND))?;
        files.push(FileMetadata {
            kind,
            mode: inode.mode() & 0o7777,
            uid: inode.uid(),
            gid: inode.gid(),
            size: inode.size(),
            device: if matches!(kind, FileKind::CharacterDevice | FileKind::BlockDevice) {
                inode.device()
            } else {
                0
            },
            target: target.map(|bytes| PathBuf::from(OsString::from_vec(bytes))),
            inode: entry.number,
            attributes: reader.attributes(inode).map_err(FileSystemError::read(R::KIND))?,
            path: entry.path,
        });
    }
    Ok(files)
}

/// Describes all files of a directory on the host, sorted by path, without their extended attributes.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn describe_directory(directory: &Utf8Path) -> Result<Vec<FileMetadata>, FileError> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry.map_err(|error| FileError::at("list", directory)(error.into()))?;
        let metadata = fs::symlink_metadata(entry.path())?;
        let kind = FileKind::of_mode(metadata.mode()).unwrap_or(FileKind::Regular);
        let is_link = kind == FileKind::Link;
        files.push(FileMetadata {
            path: entry.path().strip_prefix(directory).unwrap_or(entry.path()).to_owned(),
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: metadata.size(),
            device: u32::try_from(metadata.rdev()).unwrap_or(u32::MAX),
            target: is_link.then(|| fs::read_link(entry.path())).transpose()?,
            inode: metadata.ino(),
            attributes: Vec::new(),
        });
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_of_the_list() {
        let file = |path: &str, target: Option<&str>| FileMetadata {
            path: path.into(),
            kind: if target.is_some() { FileKind::Link } else { FileKind::Regular },
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            device: 0,
            target: target.map(PathBuf::from),
            inode: 1,
            attributes: Vec::new(),
        };
        let mut files = vec![
            file("usr/lib/a", None),
            file("usr/lib/relative", Some("a")),
            file("usr/lib/up", Some("../lib/relative")),
            file("usr/lib/out", Some("../../../../usr/lib/a")),
            file("usr/lib/absolute", Some("/usr/lib/up")),
            file("usr/lib/loop", Some("loop")),
            file("usr/lib64", Some("lib")),
        ];
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let found = |path: &str| resolve(&files, Path::new(path)).map(|file| file.path.clone());
        for path in ["a", "relative", "up", "out", "absolute"] {
            for directory in ["usr/lib", "usr/lib64"] {
                let path = format!("{directory}/{path}");
                assert_eq!(found(&path), Some("usr/lib/a".into()), "{path}");
            }
        }
        assert_eq!((found("usr/lib/loop"), found("usr/lib/b")), (None, None));
    }
}
