// SPDX-License-Identifier: Apache-2.0
use std::process::Stdio;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Confinement, FileError, fs};

use super::btrfs_tree;
use super::erofs::Erofs;
use super::error::FileSystemError;
use super::ext::Ext;
use super::kind::FileSystem;
use super::list::{DIRECTORY, Inode as _, KIND, REGULAR, Reader, list};

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
    /// See [`FileSystemError`].
    pub fn owners(self, image: &Utf8Path) -> Result<Vec<FileOwner>, FileSystemError> {
        let image = camino::absolute_utf8(image).map_err(FileError::at("resolve", image))?;
        match self {
            Self::Ext => {
                let file = fs::open(&image)?;
                of_reader(&Ext::open(&file).map_err(FileSystemError::read(Ext::KIND))?)
            }
            Self::Erofs => {
                let file = fs::open(&image)?;
                of_reader(&Erofs::open(&file).map_err(FileSystemError::read(Erofs::KIND))?)
            }
            Self::Btrfs => {
                let listing = tool_output(&image, "btrfs", &["inspect-internal", "dump-tree", "-t", "5"])?;
                btrfs_tree::check(&listing)?;
                Ok(btrfs_tree::read(&String::from_utf8_lossy(&listing)).owners)
            }
            Self::Squashfs => {
                let listing = tool_output(&image, "unsquashfs", &["-lln", "-dest", ""])?;
                Ok(String::from_utf8_lossy(&listing).lines().filter_map(of_line).collect())
            }
        }
    }
}

fn of_reader<R: Reader>(reader: &R) -> Result<Vec<FileOwner>, FileSystemError> {
    let entries = list(reader)?;
    let owner = |entry: &super::list::Entry<R::Inode>| {
        let (uid, gid) = entry.inode.owner();
        let has_owner = matches!(entry.inode.mode() & KIND, DIRECTORY | REGULAR) && (uid, gid) != (0, 0);
        let path = Utf8PathBuf::from(entry.path.to_string_lossy().into_owned());
        has_owner.then_some(FileOwner { path, uid, gid })
    };
    Ok(entries.iter().filter_map(owner).collect())
}

fn tool_output(image: &Utf8Path, name: &str, arguments: &[&str]) -> Result<Vec<u8>, FileSystemError> {
    let confinement = Confinement { readable: &[image], writable: &[], as_root: false };
    let mut command = confinement.command(name)?;
    command.args(arguments).arg(image);
    Ok(confinement.run(&mut command, Stdio::null())?.stdout)
}

/// Parses a line of unsquashfs(1): `-rwsr-xr-x 6/12   2 2026-01-01 00:00 /usr/bin/mandb`.
///
/// A name with a line break can add lines, but cannot hide the one of another file: lines about root's
/// files are left out.
fn of_line(line: &str) -> Option<FileOwner> {
    let mut fields = line.split_whitespace();
    let (mode, owner) = (fields.next()?, fields.next()?);
    let (uid, gid) = owner.split_once('/')?;
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    // The path follows the time.
    let (_, path) = line.split_once(':')?.1.split_once(" /")?;
    let has_owner = mode.len() == 10 && mode.starts_with(['-', 'd']) && (uid, gid) != (0, 0);
    has_owner.then(|| FileOwner { path: Utf8PathBuf::from(path), uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_unsquashfs_are_parsed() {
        let owner = |path: &str, uid, gid| Some(FileOwner { path: path.into(), uid, gid });
        let line = "-rwsr-xr-x 6/12                      2 2026-11-28 23:25 /usr/bin/a: b /c";
        assert_eq!(of_line(line), owner("usr/bin/a: b /c", 6, 12));
        let line = "drwxr-xr-x 0/43                     26 2026-11-28 23:25 /usr/share";
        assert_eq!(of_line(line), owner("usr/share", 0, 43));
        for other in [
            "-rwsr-xr-x 0/0                       2 2026-11-28 23:25 /usr/bin/su",
            "lrwxrwxrwx 3/4                       1 2026-11-28 23:25 /usr/bin/l -> x",
            "",
        ] {
            assert_eq!(of_line(other), None, "{other}");
        }
    }
}
