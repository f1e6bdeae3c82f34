// SPDX-License-Identifier: Apache-2.0
//! Files out of the file systems that extensions are packed as, by the programs that belong to them.
//! Nothing is mounted, and root is not needed.
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use loadgauge_images::host::{CommandError, CommandExt as _, MissingTool, Tool};

/// No file that is taken out is larger, in blocks of 512 bytes as a shell counts them: 2 GiB. A program
/// that is fed foreign bytes has this many seconds.
const LIMITED: &str = "ulimit -f 4194304; exec timeout 600 \"$@\"";

/// A file system that an extension is packed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileSystem {
    Squashfs,
    Erofs,
    Ext,
    Btrfs,
}

/// A file system that cannot be taken apart.
#[derive(Debug, thiserror::Error)]
pub enum UnpackImageError {
    /// the host lacks a program
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// the program said no
    #[error("its files cannot be taken out")]
    Command(#[source] CommandError),
    /// the program said something although it ended well
    #[error("its files cannot all be taken out: {0}")]
    Complaint(String),
    /// what no format carries
    #[error("`/{0}` has extended attributes, such as file capabilities, which would get lost")]
    Attributes(String),
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
}

impl UnpackImageError {
    fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl FileSystem {
    /// Recognises a file system by its magic number.
    pub(super) fn identify(file: &File) -> Option<Self> {
        let is_at = |magic: &[u8], offset: u64| {
            let mut found = vec![0; magic.len()];
            file.read_exact_at(&mut found, offset).is_ok_and(|()| found == magic)
        };
        [
            (Self::Squashfs, is_at(b"hsqs", 0)),
            (Self::Erofs, is_at(&[0xe2, 0xe1, 0xf5, 0xe0], 1024)),
            (Self::Ext, is_at(&[0x53, 0xef], 1080)),
            (Self::Btrfs, is_at(b"_BHRfS_M", 0x1_0040)),
        ]
        .into_iter()
        .find_map(|(kind, is_it)| is_it.then_some(kind))
    }

    /// Takes all files out, with their modes, into a directory that is made for it. Where a part is named,
    /// a directory, the rest may be left out, and attributes are not looked for.
    ///
    /// # Errors
    /// See [`UnpackImageError`].
    pub(super) fn unpack(
        self,
        image: &Utf8Path,
        target: &Utf8Path,
        part: Option<&str>,
    ) -> Result<(), UnpackImageError> {
        match self {
            Self::Squashfs => {
                let mut command = limited_as_root(Tool::find("unsquashfs")?.path())?;
                command.args(["-quiet", "-no-progress", "-dest"]).args([target, image]);
                command.args(part);
                command.run().map(drop).map_err(UnpackImageError::Command)
            }
            Self::Erofs => unpack_erofs(image, target, part.is_none()),
            Self::Ext => unpack_ext(image, target, part),
            Self::Btrfs => unpack_btrfs(image, target),
        }
    }
}

/// A command for a program that reads foreign bytes.
fn limited(program: &Utf8Path) -> Result<Command, MissingTool> {
    let mut command = Tool::find("sh")?.command();
    command.args(["-c", LIMITED, "sh", program.as_str()]);
    Ok(command)
}

/// The same as root of a user namespace: these programs give files their owners, or leave set-id bits
/// out when they are not root. Real root needs no namespace. A file that is not root's makes them fail
/// there, and none of an extension should be another's.
fn limited_as_root(program: &Utf8Path) -> Result<Command, MissingTool> {
    if rustix::process::geteuid().is_root() {
        return limited(program);
    }
    let mut command = limited(Tool::find("unshare")?.path())?;
    command.args(["--user", "--map-root-user", program.as_str()]);
    Ok(command)
}

/// fsck.erofs passes over extended attributes before version 1.8; dump.erofs tells of them. Those that
/// mean something are on programs.
fn unpack_erofs(image: &Utf8Path, target: &Utf8Path, is_whole: bool) -> Result<(), UnpackImageError> {
    let mut command = limited(Tool::find("fsck.erofs")?.path())?;
    command.args([&format!("--extract={target}"), "--force", "--no-preserve-owner", "--preserve-perms"]);
    command.arg(image).run().map_err(UnpackImageError::Command)?;
    if !is_whole {
        return Ok(());
    }
    let dump = Tool::find("dump.erofs")?;
    for path in programs(target)? {
        let mut command = limited(dump.path())?;
        let said =
            command.arg(format!("--path=/{path}")).arg(image).run().map_err(UnpackImageError::Command)?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let size = said.split("Xattr size:").nth(1).and_then(|rest| rest.split_whitespace().next());
        if size != Some("0") {
            return Err(UnpackImageError::Attributes(path));
        }
    }
    Ok(())
}

/// debugfs ends well whatever happens: what it says on standard error is judged. It passes over extended
/// attributes, and tells of them when it is asked.
fn unpack_ext(image: &Utf8Path, target: &Utf8Path, part: Option<&str>) -> Result<(), UnpackImageError> {
    fs::create_dir(target).map_err(UnpackImageError::io("create", target))?;
    let debugfs = Tool::find("debugfs")?;
    let run = |arguments: &[&str]| {
        let mut command = limited_as_root(debugfs.path())?;
        let output = command.args(arguments).arg(image).run().map_err(UnpackImageError::Command)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match said.lines().find(|line| !line.starts_with("debugfs ") && !line.is_empty()) {
            Some(line) => Err(UnpackImageError::Complaint(line.to_owned())),
            None => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        }
    };
    if let Some(part) = part {
        // It is put into the target under its last name alone.
        let place = target.join(part);
        let above = place.parent().unwrap_or(target);
        fs::create_dir_all(above).map_err(UnpackImageError::io("create", above))?;
        return run(&["-R", &format!("rdump \"/{part}\" \"{above}\"")]).map(drop);
    }
    run(&["-R", &format!("rdump / \"{target}\"")])?;
    // Every one of ext's has it.
    let lost = target.join("lost+found");
    if lost.is_dir() {
        fs::remove_dir_all(&lost).map_err(UnpackImageError::io("remove", &lost))?;
    }
    let questions = target.with_extension("questions");
    let ask = |path: &String| format!("stat \"/{path}\"\nea_list \"/{path}\"\n");
    let lines: Vec<String> = programs(target)?.iter().map(ask).collect();
    fs::write(&questions, lines.concat()).map_err(UnpackImageError::io("write", &questions))?;
    let said = run(&["-f", questions.as_str()])?;
    let mut asked = "";
    for line in said.lines() {
        if let Some(question) = line.strip_prefix("debugfs: ").and_then(|line| line.split_once(" \"/")) {
            asked = question.1.trim_end_matches('"');
        } else if line.starts_with("Extended attributes") {
            return Err(UnpackImageError::Attributes(asked.to_owned()));
        } else if let Some(mode) = line.starts_with("Inode:").then(|| mode_of(line)).flatten() {
            // It gives a file its mode before its owner, which takes set-id bits away.
            let path = target.join(asked);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(UnpackImageError::io("set the mode of", &path))?;
        }
    }
    Ok(())
}

/// The permission bits in debugfs's `Inode: 12   Type: regular    Mode:  04755   Flags: 0x80000`.
fn mode_of(line: &str) -> Option<u32> {
    u32::from_str_radix(line.split("Mode:").nth(1)?.split_whitespace().next()?, 8).ok()
}

/// btrfs-restore(8) is for damaged file systems and needs no mount.
fn unpack_btrfs(image: &Utf8Path, target: &Utf8Path) -> Result<(), UnpackImageError> {
    fs::create_dir(target).map_err(UnpackImageError::io("create", target))?;
    // It asks whether to go on with files of many extents; this says always.
    let answers = target.with_extension("answers");
    fs::write(&answers, "a\n".repeat(1000)).map_err(UnpackImageError::io("write", &answers))?;
    let input = File::open(&answers).map_err(UnpackImageError::io("open", &answers))?;
    let mut command = limited_as_root(Tool::find("btrfs")?.path())?;
    command.args(["restore", "--metadata", "--symlink", "--xattr", image.as_str(), target.as_str()]);
    command.run_with(Stdio::from(input)).map_err(UnpackImageError::Command)?;
    let mut command = limited(Tool::find("btrfs")?.path())?;
    command.args(["inspect-internal", "dump-tree", "-t", "5"]).arg(image);
    let output = command.run().map_err(UnpackImageError::Command)?;
    for (path, mode) in set_id_in(&String::from_utf8_lossy(&output.stdout)) {
        // It gives a file its mode before its content, which takes set-id bits away.
        let path = target.join(path);
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(UnpackImageError::io("set the mode of", &path))?;
        }
    }
    Ok(())
}

/// The inode of the root directory (`BTRFS_FIRST_FREE_OBJECTID`).
const BTRFS_ROOT: u64 = 256;

/// Paths and permission bits of the regular files with set-id bits in a tree as btrfs prints it: lines
/// with keys (`key (257 INODE_ITEM 0)`, `key (257 INODE_REF 256)`), and lines about them (`mode 104755`,
/// `name: probe`). Names lead up to the root; what does not is passed over.
fn set_id_in(tree: &str) -> Vec<(Utf8PathBuf, u32)> {
    let (mut names, mut modes) = (HashMap::<u64, Vec<(u64, &str)>>::new(), Vec::new());
    let mut key = None;
    for line in tree.lines() {
        let words = line.trim_start().strip_prefix("item ").and_then(|rest| rest.split_once("key ("));
        if let Some((_, rest)) = words {
            let mut parts = rest.split([' ', ')']);
            key = parts.next().and_then(|inode| inode.parse::<u64>().ok()).zip(parts.next()).map(
                |(inode, kind)| (inode, kind, parts.next().and_then(|number| number.parse::<u64>().ok())),
            );
        }
        match key {
            Some((inode, "INODE_ITEM", _)) => {
                let mode = line.split(" mode ").nth(1).and_then(|rest| rest.split_whitespace().next());
                let mode = mode.and_then(|digits| u32::from_str_radix(digits, 8).ok());
                let set_id = mode.filter(|mode| mode & 0o170_000 == 0o100_000 && mode & 0o6000 != 0);
                modes.extend(set_id.map(|mode| (inode, mode & 0o7777)));
            }
            Some((inode, "INODE_REF", Some(parent))) => {
                let name = line.split_once(" name: ").map(|(_, name)| name);
                names.entry(inode).or_default().extend(name.map(|name| (parent, name)));
            }
            _ => {}
        }
    }
    let path = |inode: u64| {
        let (mut inode, mut path) = (inode, Utf8PathBuf::new());
        for _ in 0..256 {
            let (parent, name) = names.get(&inode)?.first()?;
            path = if path.as_str().is_empty() { name.into() } else { Utf8Path::new(name).join(&path) };
            if *parent == BTRFS_ROOT {
                let plain = path.components().all(|part| matches!(part, Utf8Component::Normal(_)));
                return plain.then_some(path);
            }
            inode = *parent;
        }
        None
    };
    modes.into_iter().filter_map(|(inode, mode)| Some((path(inode)?, mode))).collect()
}

/// Paths of the files that can be executed, relative to the directory.
fn programs(directory: &Utf8Path) -> Result<Vec<String>, UnpackImageError> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(directory).sort_by_file_name() {
        let entry = entry.map_err(|error| UnpackImageError::io("read", directory)(error.into()))?;
        let metadata =
            entry.metadata().map_err(|error| UnpackImageError::io("read", directory)(error.into()))?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            continue;
        }
        if let Some(path) =
            Utf8Path::from_path(entry.path()).and_then(|path| path.strip_prefix(directory).ok())
            && !path.as_str().contains(['"', '\n'])
        {
            found.push(path.to_string());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
\titem 0 key (256 INODE_ITEM 0) itemoff 16123 itemsize 160
\t\tblock group 0 mode 40755 links 1 uid 0 gid 0 rdev 0
\titem 1 key (256 INODE_REF 256) itemoff 16111 itemsize 12
\t\tindex 0 namelen 2 name: ..
\titem 4 key (257 INODE_ITEM 0) itemoff 1 itemsize 160
\t\tblock group 0 mode 40755 links 1 uid 0 gid 0 rdev 0
\titem 5 key (257 INODE_REF 256) itemoff 1 itemsize 13
\t\tindex 2 namelen 3 name: usr
\titem 6 key (258 INODE_ITEM 0) itemoff 1 itemsize 160
\t\tblock group 0 mode 104755 links 1 uid 0 gid 0 rdev 0
\titem 7 key (258 INODE_REF 257) itemoff 1 itemsize 11
\t\tindex 2 namelen 1 name: a b
\titem 8 key (259 INODE_ITEM 0) itemoff 1 itemsize 160
\t\tblock group 0 mode 104755 links 1 uid 0 gid 0 rdev 0
\titem 9 key (259 INODE_REF 256) itemoff 1 itemsize 12
\t\tindex 2 namelen 2 name: ../x
";

    #[test]
    fn set_id_files_are_found_in_a_tree_and_none_outside() {
        assert_eq!(set_id_in(TREE), [(Utf8PathBuf::from("usr/a b"), 0o4755)]);
        assert_eq!(mode_of("Inode: 12   Type: regular    Mode:  04755   Flags: 0x80000"), Some(0o4755));
        assert_eq!(mode_of("Inode: 12"), None);
    }
}
