// SPDX-License-Identifier: Apache-2.0
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;

use super::error::{FileSystemError, NameFault};

/// The bounds of a list.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// the entries of all directories
    entries: usize,
    /// the levels of directories
    depth: usize,
    /// the memory for paths and inodes, in bytes
    memory: usize,
}

/// More than any real image has: `/usr` of Flatcar has 30,000 entries, and the list of it needs 10 MB.
const LIMITS: Limits = Limits { entries: 4 << 20, depth: 256, memory: 1 << 30 };
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
    fn uid(&self) -> u32;
    fn gid(&self) -> u32;
    /// Returns the size of the content in bytes.
    fn size(&self) -> u64;
    /// Returns the memory that the inode occupies beside its fixed size, in bytes.
    fn memory(&self) -> usize {
        0
    }
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
    /// Returns the names and inode numbers in a directory, without `.` and `..`.
    fn directory(&self, inode: &Self::Inode) -> io::Result<Vec<(Vec<u8>, u64)>>;
    /// Returns the target of a symbolic link.
    fn link_target(&self, inode: &Self::Inode) -> io::Result<Vec<u8>>;
    /// Returns the names of an inode's extended attributes.
    fn attributes(&self, inode: &Self::Inode) -> io::Result<Vec<String>>;
}

/// Lists an image from its root, each directory before its contents.
///
/// # Errors
/// The image is damaged, or contains an invalid name or a loop of directories.
pub(super) fn list<R: Reader>(reader: &R) -> Result<Vec<Entry<R::Inode>>, FileSystemError> {
    list_within(reader, LIMITS)
}

fn list_within<R: Reader>(reader: &R, limits: Limits) -> Result<Vec<Entry<R::Inode>>, FileSystemError> {
    let read = || FileSystemError::read(R::KIND);
    let root = reader.root();
    let mut seen = HashSet::from([root]);
    let mut waiting = vec![(root, PathBuf::new(), 0)];
    let (mut entries, mut count, mut memory) = (Vec::new(), 0, 0);
    while let Some((number, path, depth)) = waiting.pop() {
        let inode = reader.inode(number).map_err(read())?;
        memory += inode.memory();
        if inode.mode() & KIND == DIRECTORY {
            if depth > limits.depth {
                let path = escape(path.as_os_str().as_bytes());
                return Err(FileSystemError::Depth { path, limit: limits.depth });
            }
            if depth > 0 && !seen.insert(number) {
                return Err(FileSystemError::Loop(escape(path.as_os_str().as_bytes())));
            }
            let names = reader.directory(&inode).map_err(read())?;
            count += names.len();
            if count > limits.entries {
                return Err(FileSystemError::TooLarge("four million entries"));
            }
            check_names(&path, names.iter().map(|(name, _)| name.as_slice()))?;
            let own = path.as_os_str().len() + 1;
            memory += names.iter().map(|(name, _)| own + name.len()).sum::<usize>();
            if memory > limits.memory {
                return Err(FileSystemError::TooLarge("1 GiB of paths and inodes"));
            }
            let children = names.into_iter();
            waiting.extend(
                children.map(|(name, child)| (child, path.join(OsStr::from_bytes(&name)), depth + 1)),
            );
        }
        if memory > limits.memory {
            return Err(FileSystemError::TooLarge("1 GiB of paths and inodes"));
        }
        entries.push(Entry { path, number, inode });
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

/// Checks that listed files give no access to a device of the host.
///
/// A character device with the number zero is a whiteout of overlayfs and gives access to nothing.
///
/// # Errors
/// The first device.
pub(super) fn refuse_devices<I: Inode>(entries: &[Entry<I>]) -> Result<(), FileSystemError> {
    let is_device = |entry: &&Entry<I>| match entry.inode.mode() & KIND {
        BLOCK_DEVICE => true,
        CHARACTER_DEVICE => entry.inode.device() != 0,
        _ => false,
    };
    match entries.iter().find(is_device) {
        Some(entry) => Err(FileSystemError::Device(escape(entry.path.as_os_str().as_bytes()))),
        None => Ok(()),
    }
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
        if found.len() > LIMITS.entries {
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

    /// A reader of a tree in which every directory has the same number of files and one directory.
    struct Fake {
        files: usize,
        depth: u64,
    }

    impl Inode for u64 {
        fn mode(&self) -> u32 {
            if *self < 1000 { DIRECTORY } else { REGULAR }
        }

        fn device(&self) -> u32 {
            0
        }

        fn uid(&self) -> u32 {
            0
        }

        fn gid(&self) -> u32 {
            0
        }

        fn size(&self) -> u64 {
            0
        }

        fn memory(&self) -> usize {
            100
        }
    }

    impl Reader for Fake {
        type Inode = u64;
        const KIND: &'static str = "fake";

        fn root(&self) -> u64 {
            0
        }

        fn inode(&self, number: u64) -> io::Result<u64> {
            Ok(number)
        }

        fn directory(&self, inode: &u64) -> io::Result<Vec<(Vec<u8>, u64)>> {
            let files = (0..self.files).map(|number| (format!("f{number}").into_bytes(), 1000));
            let below = (*inode < self.depth).then(|| (b"d".to_vec(), inode + 1));
            Ok(files.chain(below).collect())
        }

        fn link_target(&self, _: &u64) -> io::Result<Vec<u8>> {
            Ok(Vec::new())
        }

        fn attributes(&self, _: &u64) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn entries_depth_and_memory_are_bounded() {
        let fake = Fake { files: 3, depth: 4 };
        let listed = |limits| list_within(&fake, limits).map(|entries| entries.len());
        let enough = Limits { entries: 19, depth: 4, memory: 2500 };
        assert_eq!(listed(enough).expect("listed"), 20);
        let message = |limits| listed(limits).expect_err("refused").to_string();
        assert_eq!(message(Limits { entries: 18, ..enough }), "it has more than four million entries");
        assert_eq!(message(Limits { memory: 1900, ..enough }), "it has more than 1 GiB of paths and inodes");
        let expected = "the directory `/d/d/d/d` is nested more than 3 levels deep";
        assert_eq!(message(Limits { depth: 3, ..enough }), expected);
    }

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
