// SPDX-License-Identifier: Apache-2.0
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;

use super::error::{FileSystemError, NameFault};

/// The limit of entries and attributes of an image, more than any real one has.
const MAXIMUM_ENTRIES: usize = 4 << 20;
/// The limit of directory levels in an image, more than any real one has.
const MAXIMUM_DEPTH: usize = 256;
/// The mode bits of the file type.
pub(super) const KIND: u32 = 0o170_000;
pub(super) const FIFO: u32 = 0o010_000;
pub(super) const CHARACTER_DEVICE: u32 = 0o020_000;
pub(super) const DIRECTORY: u32 = 0o040_000;
pub(super) const BLOCK_DEVICE: u32 = 0o060_000;
pub(super) const REGULAR: u32 = 0o100_000;
pub(super) const LINK: u32 = 0o120_000;
pub(super) const SOCKET: u32 = 0o140_000;

/// An extended attribute of a file in an image that extraction does not preserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedAttribute {
    /// the file, relative to the root of the file system
    pub path: Utf8PathBuf,
    /// the name of the attribute
    pub name: String,
}

/// A file in an image.
#[derive(Debug)]
pub(super) struct Entry<I> {
    /// the path, relative to the root of the file system; empty for the root itself
    pub(super) path: PathBuf,
    /// the number of the inode
    pub(super) number: u64,
    /// the inode
    pub(super) inode: I,
}

/// The fields of an inode that all formats have.
pub(super) trait Inode {
    /// Returns the file type and permissions.
    fn mode(&self) -> u32;
    /// Returns the device number, in the encoding of the format.
    fn device(&self) -> u32;
    /// Returns the numbers of the owning user and group.
    fn owner(&self) -> (u32, u32);
}

/// A reader of the inodes and directories of a format.
pub(super) trait Reader {
    /// The inodes of the format.
    type Inode: Inode;
    /// The name of the format.
    const KIND: &'static str;

    /// Returns the number of the root directory.
    fn root(&self) -> u64;
    fn inode(&self, number: u64) -> io::Result<Self::Inode>;
    /// Returns the names and inode numbers in a directory, with `.` and `..` where the format stores them.
    fn directory(&self, inode: &Self::Inode) -> io::Result<Vec<(Vec<u8>, u64)>>;
    /// Returns the names of an inode's extended attributes.
    fn attributes(&self, inode: &Self::Inode) -> io::Result<Vec<String>>;
}

/// Lists an image from its root, each directory before its contents.
///
/// # Errors
/// The image is damaged, or contains an invalid name, a device or a loop of directories.
pub(super) fn list<R: Reader>(reader: &R) -> Result<Vec<Entry<R::Inode>>, FileSystemError> {
    let read = || FileSystemError::read(R::KIND);
    let root = reader.root();
    let mut seen = HashSet::from([root]);
    let mut waiting = vec![(root, root, PathBuf::new(), 0)];
    let (mut entries, mut count) = (Vec::new(), 0);
    while let Some((number, parent, path, depth)) = waiting.pop() {
        let inode = reader.inode(number).map_err(read())?;
        match inode.mode() & KIND {
            DIRECTORY => {
                if depth > MAXIMUM_DEPTH || number != root && !seen.insert(number) {
                    return Err(FileSystemError::Loop(escape(path.as_os_str().as_bytes())));
                }
                let mut names = reader.directory(&inode).map_err(read())?;
                // Any other entry of these names is refused with the names that lead out.
                for (own, of) in [(b".".as_slice(), number), (b"..", parent)] {
                    let is_own = |(name, child): &(Vec<u8>, u64)| name == own && *child == of;
                    if let Some(at) = names.iter().position(is_own) {
                        names.remove(at);
                    }
                }
                count += names.len();
                if count > MAXIMUM_ENTRIES {
                    return Err(FileSystemError::TooLarge("four million entries"));
                }
                check_names(&path, names.iter().map(|(name, _)| name.as_slice()))?;
                let children = names.into_iter();
                waiting
                    .extend(children.map(|(name, child)| {
                        (child, number, path.join(OsStr::from_bytes(&name)), depth + 1)
                    }));
            }
            // A character device with the number zero is a whiteout of overlayfs and gives access to
            // nothing.
            BLOCK_DEVICE => return Err(FileSystemError::Device(escape(path.as_os_str().as_bytes()))),
            CHARACTER_DEVICE if inode.device() != 0 => {
                return Err(FileSystemError::Device(escape(path.as_os_str().as_bytes())));
            }
            _ => {}
        }
        entries.push(Entry { path, number, inode });
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

/// Returns the extended attributes of listed files.
///
/// # Errors
/// The image is damaged.
pub(super) fn attributes<R: Reader>(
    reader: &R,
    entries: &[Entry<R::Inode>],
) -> Result<Vec<ExtendedAttribute>, FileSystemError> {
    let mut found = Vec::new();
    for entry in entries {
        let path = Utf8PathBuf::from(entry.path.to_string_lossy().into_owned());
        let names = reader.attributes(&entry.inode).map_err(FileSystemError::read(R::KIND))?;
        found.extend(names.into_iter().map(|name| ExtendedAttribute { path: path.clone(), name }));
        if found.len() > MAXIMUM_ENTRIES {
            return Err(FileSystemError::TooLarge("four million attributes"));
        }
    }
    Ok(found)
}

/// Checks that no name of a directory leads out of it or appears twice.
///
/// # Errors
/// The first name that breaks a rule.
pub(super) fn check_names<'a>(
    directory: &Path,
    names: impl Iterator<Item = &'a [u8]>,
) -> Result<(), FileSystemError> {
    let mut seen = HashSet::new();
    for name in names {
        let fault = match name {
            b"" => Some(NameFault::Empty),
            b"." | b".." => Some(NameFault::LeadsOut),
            _ if name.contains(&b'/') => Some(NameFault::LeadsOut),
            _ if name.contains(&0) => Some(NameFault::Nul),
            _ if !seen.insert(name) => Some(NameFault::Duplicate),
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(FileSystemError::Name {
                directory: escape(directory.as_os_str().as_bytes()),
                name: escape(name),
                fault,
            });
        }
    }
    Ok(())
}

/// Escapes foreign text, so that it is safe in a message.
pub(super) fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_of_their_directory_or_repeat_are_refused() {
        let check = |names: &[&[u8]]| {
            check_names(Path::new("usr"), names.iter().copied()).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[b"a", b"b", b"..c", b"...", b"\xff"]), Ok(()));
        for (names, message) in [
            (
                &[b"../x".as_slice()][..],
                "the directory `/usr` contains the name `../x`, which leads out of the directory",
            ),
            (&[b"/x"], "the directory `/usr` contains the name `/x`, which leads out of the directory"),
            (&[b".."], "the directory `/usr` contains the name `..`, which leads out of the directory"),
            (&[b"."], "the directory `/usr` contains the name `.`, which leads out of the directory"),
            (&[b""], "the directory `/usr` contains the name ``, which is empty"),
            (&[b"a\0b"], "the directory `/usr` contains the name `a\\x00b`, which contains a NUL byte"),
            (&[b"\n", b"\n"], "the directory `/usr` contains the name `\\n`, which appears twice"),
        ] {
            assert_eq!(check(names), Err(message.to_owned()));
        }
    }
}
