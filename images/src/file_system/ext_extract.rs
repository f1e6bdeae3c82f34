// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::error::FileSystemError;
use super::ext::{Ext, Inode};
use super::list::{
    CHARACTER_DEVICE, DIRECTORY, Entry, ExtendedAttribute, FIFO, Inode as _, KIND, LINK, REGULAR, Reader,
    SOCKET, attributes, list,
};
use super::select::Selection;

/// The directory that mke2fs(8) creates in every file system.
const LOST_AND_FOUND: &str = "lost+found";
/// The largest file that is extracted, in bytes, as for other formats.
const LARGEST_FILE: u64 = 2 << 30;
/// The most bytes that extraction may write, because several files can share blocks.
const LARGEST_TOTAL: u64 = 16 << 30;

/// Extracts files of ext2, ext3 or ext4.
///
/// [`list`] guarantees that each path consists of unique names below directories that were created here.
/// No path therefore leads out of the target.
pub(super) fn extract(
    image: &Utf8Path,
    target: &Utf8Path,
    selection: Selection<'_>,
) -> Result<Vec<ExtendedAttribute>, FileSystemError> {
    let file = fs::open(image)?;
    let ext = Ext::open(&file).map_err(FileSystemError::read(Ext::KIND))?;
    let mut entries = list(&ext)?;
    entries.retain(|entry| !entry.path.starts_with(LOST_AND_FOUND));
    let mut extraction = Extraction { ext: &ext, target, links: HashMap::new(), total: 0 };
    if matches!(selection, Selection::Files(_)) {
        for entry in &entries {
            let is_selected = entry.path.to_str().is_some_and(|path| selection.contains(path));
            if is_selected && entry.inode.mode() & KIND == REGULAR {
                let path = extraction.path(entry);
                fs::create_dir_all(path.parent().unwrap_or(&path))?;
                extraction.content(entry, &path)?;
            }
        }
        return Ok(Vec::new());
    }
    for entry in &entries {
        extraction.create(entry)?;
    }
    // Modes are set last, because no file can be added to a directory without write permission.
    for entry in entries.iter().rev() {
        extraction.set_mode(entry)?;
    }
    attributes(&ext, &entries)
}

struct Extraction<'a> {
    ext: &'a Ext<'a>,
    target: &'a Utf8Path,
    /// the first path of each inode
    links: HashMap<u64, PathBuf>,
    total: u64,
}

impl Extraction<'_> {
    fn path(&self, entry: &Entry<Inode>) -> PathBuf {
        self.target.as_std_path().join(&entry.path)
    }

    fn create(&mut self, entry: &Entry<Inode>) -> Result<(), FileSystemError> {
        let (path, kind) = (self.path(entry), entry.inode.mode() & KIND);
        if kind != DIRECTORY
            && let Some(first) = self.links.get(&entry.number)
        {
            return Ok(fs::hard_link(first, &path)?);
        }
        match kind {
            DIRECTORY if entry.path.as_os_str().is_empty() => return Ok(()),
            DIRECTORY => return Ok(fs::create_dir(&path)?),
            REGULAR => self.content(entry, &path)?,
            LINK => {
                let bytes = self.ext.link_target(&entry.inode).map_err(FileSystemError::read(Ext::KIND))?;
                fs::symlink(OsStr::from_bytes(&bytes), &path)?;
            }
            FIFO | SOCKET | CHARACTER_DEVICE => special(kind, &path)?,
            _ => {}
        }
        self.links.insert(entry.number, path);
        Ok(())
    }

    fn content(&mut self, entry: &Entry<Inode>, path: &Path) -> Result<(), FileSystemError> {
        let size = entry.inode.size();
        if size > LARGEST_FILE {
            return Err(FileSystemError::TooLarge("2 GiB in one file"));
        }
        let write = |error| FileSystemError::File(FileError::at("write", path)(error));
        let file = File::options().write(true).create_new(true).open(path).map_err(write)?;
        file.set_len(size).map_err(write)?;
        let mut failed = None;
        let read = self.ext.content(&entry.inode, |offset, bytes| {
            self.total += bytes.len() as u64;
            if self.total > LARGEST_TOTAL {
                failed = Some(FileSystemError::TooLarge("16 GiB in all files"));
            } else if let Err(error) = file.write_all_at(bytes, offset) {
                failed = Some(write(error));
            }
            if failed.is_some() { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
        });
        match failed {
            Some(error) => Err(error),
            None => read.map_err(FileSystemError::read(Ext::KIND)),
        }
    }

    fn set_mode(&self, entry: &Entry<Inode>) -> Result<(), FileSystemError> {
        let mode = entry.inode.mode();
        if matches!(mode & KIND, DIRECTORY | REGULAR) {
            fs::set_permissions(self.path(entry), Permissions::from_mode(mode & 0o7777))?;
        }
        Ok(())
    }
}

/// Creates a special file.
///
/// A device can only be a whiteout of overlayfs, which needs no privileges.
pub(super) fn special(kind: u32, path: &Path) -> Result<(), FileError> {
    let file_type = FileType::from_raw_mode(kind);
    mknodat(CWD, path, file_type, Mode::RUSR | Mode::WUSR, 0)
        .map_err(|error| FileError::at("create", path)(error.into()))
}
