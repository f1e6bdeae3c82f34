// SPDX-License-Identifier: Apache-2.0
//! Files out of the file systems that extensions are packed as, by the programs that belong to them.
//! Nothing is mounted, and root is not needed.
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandError, CommandExt as _, MissingTool, Tool};

use super::btrfs_tree;
use super::erofs;
use super::marks::Mark;

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
    /// a name that debugfs cannot be asked about
    #[error("`/{0}` has a line break in its name")]
    LineBreak(String),
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

    /// Takes all files out, with their modes, into a directory that is made for it, and says which extended
    /// attributes they had in the image that they do not have there. Where a part is named, a directory,
    /// the rest may be left out, and attributes are not looked for.
    ///
    /// # Errors
    /// See [`UnpackImageError`].
    pub(super) fn unpack(
        self,
        image: &Utf8Path,
        target: &Utf8Path,
        part: Option<&str>,
    ) -> Result<Vec<Mark>, UnpackImageError> {
        match self {
            Self::Squashfs => {
                let mut command = limited_as_root(Tool::find("unsquashfs")?.path())?;
                command.args(["-quiet", "-no-progress", "-dest"]).args([target, image]);
                command.args(part);
                command.run().map(|_| Vec::new()).map_err(UnpackImageError::Command)
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

fn unpack_erofs(image: &Utf8Path, target: &Utf8Path, is_whole: bool) -> Result<Vec<Mark>, UnpackImageError> {
    let mut command = limited(Tool::find("fsck.erofs")?.path())?;
    command.args([&format!("--extract={target}"), "--force", "--no-preserve-owner", "--preserve-perms"]);
    command.arg(image).run().map_err(UnpackImageError::Command)?;
    if !is_whole {
        return Ok(Vec::new());
    }
    let file = File::open(image).map_err(UnpackImageError::io("open", image))?;
    erofs::marks(&file).map_err(UnpackImageError::io("read the attributes in", image))
}

/// debugfs ends well whatever happens: what it says on standard error is judged. It passes over extended
/// attributes, and tells of them when it is asked.
fn unpack_ext(
    image: &Utf8Path,
    target: &Utf8Path,
    part: Option<&str>,
) -> Result<Vec<Mark>, UnpackImageError> {
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
        return run(&["-R", &format!("rdump \"/{part}\" \"{above}\"")]).map(|_| Vec::new());
    }
    run(&["-R", &format!("rdump / \"{target}\"")])?;
    // Every one of ext's has it.
    let lost = target.join("lost+found");
    if lost.is_dir() {
        fs::remove_dir_all(&lost).map_err(UnpackImageError::io("remove", &lost))?;
    }
    let paths = all_in(target)?;
    let questions = target.with_extension("questions");
    let lines: String = paths.iter().map(|path| question(path) + "\n").collect();
    fs::write(&questions, lines).map_err(UnpackImageError::io("write", &questions))?;
    let said = run(&["-f", questions.as_str()])?;
    let mut marks = Vec::new();
    for (path, answer) in answers(&said, &paths)? {
        // It gives a file its mode before its owner, which takes set-id bits away.
        let place = target.join(path);
        let is_file = place.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if let Some(mode) = mode_of(answer).filter(|_| is_file) {
            fs::set_permissions(&place, fs::Permissions::from_mode(mode))
                .map_err(UnpackImageError::io("set the mode of", &place))?;
        }
        marks.extend(names_in(answer).map(|name| Mark { path: path.clone(), name: name.to_owned() }));
    }
    Ok(marks)
}

/// What debugfs is asked about a file. A quotation mark within quotation marks is doubled.
fn question(path: &Utf8Path) -> String {
    format!("stat \"/{}\"", path.as_str().replace('"', "\"\""))
}

/// The answers in what debugfs says: each behind the question, which it repeats.
///
/// # Errors
/// A question was not asked, so that nothing is known of a file.
fn answers<'a>(
    said: &'a str,
    paths: &'a [Utf8PathBuf],
) -> Result<Vec<(&'a Utf8PathBuf, &'a str)>, UnpackImageError> {
    let mut rest = said;
    let mut found: Vec<(&Utf8PathBuf, &str)> = Vec::new();
    for path in paths {
        let asked = format!("debugfs: {}\n", question(path));
        let (before, behind) = rest
            .split_once(&asked)
            .ok_or_else(|| UnpackImageError::Complaint(format!("nothing is told of `/{path}`")))?;
        if let Some(last) = found.last_mut() {
            last.1 = before;
        }
        found.push((path, behind));
        rest = behind;
    }
    Ok(found)
}

/// The names of the attributes in debugfs's answer, such as `  security.capability (20) = 01 00 ..`.
fn names_in(answer: &str) -> impl Iterator<Item = &str> {
    let mut lines = answer.lines();
    let heading = lines.by_ref().find(|line| line.starts_with("Extended attributes:"));
    lines
        .take_while(move |line| heading.is_some() && line.starts_with("  "))
        .filter_map(|line| line.trim_start().split_once(" (").map(|(name, _)| name))
}

/// The permission bits in debugfs's `Inode: 12   Type: regular    Mode:  04755   Flags: 0x80000`.
fn mode_of(line: &str) -> Option<u32> {
    u32::from_str_radix(line.split("Mode:").nth(1)?.split_whitespace().next()?, 8).ok()
}

/// btrfs-restore(8) is for damaged file systems and needs no mount. It passes over the attributes of
/// directories.
fn unpack_btrfs(image: &Utf8Path, target: &Utf8Path) -> Result<Vec<Mark>, UnpackImageError> {
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
    let (set_id, marks) = btrfs_tree::read(&String::from_utf8_lossy(&output.stdout));
    for (path, mode) in set_id {
        // It gives a file its mode before its content, which takes set-id bits away.
        let path = target.join(path);
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(UnpackImageError::io("set the mode of", &path))?;
        }
    }
    Ok(marks)
}

/// Paths of everything in a directory and of itself, relative to it.
fn all_in(directory: &Utf8Path) -> Result<Vec<Utf8PathBuf>, UnpackImageError> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(directory).sort_by_file_name() {
        let entry = entry.map_err(|error| UnpackImageError::io("read", directory)(error.into()))?;
        let Some(path) = Utf8Path::from_path(entry.path()) else {
            let name = entry.path().display().to_string();
            return Err(UnpackImageError::Complaint(format!("`{name}` is not a name in UTF-8")));
        };
        let path = path.strip_prefix(directory).unwrap_or(path);
        if path.as_str().contains('\n') {
            return Err(UnpackImageError::LineBreak(path.as_str().escape_debug().to_string()));
        }
        found.push(path.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_from_an_answer() {
        assert_eq!(mode_of("Inode: 12   Type: regular    Mode:  04755   Flags: 0x80000"), Some(0o4755));
        assert_eq!(mode_of("Inode: 12"), None);
    }

    #[test]
    fn answers_belong_to_their_questions() {
        let paths = [Utf8PathBuf::new(), "usr/a \"b\"".into()];
        let said = "debugfs: stat \"/\"\nInode: 2\ndebugfs: stat \"/usr/a \"\"b\"\"\"\nInode: 12\n\
                    Extended attributes:\n  user.x (1) = \"y\"\n  security.capability (20) = 01 00\nEXTENTS:\n(0):1 (2)\n";
        let found = answers(said, &paths).expect("both are answered");
        assert_eq!(found[0], (&paths[0], "Inode: 2\n"));
        assert_eq!(names_in(found[0].1).count(), 0);
        assert_eq!(names_in(found[1].1).collect::<Vec<_>>(), ["user.x", "security.capability"]);
        answers("debugfs: stat \"/\"\n", &paths).expect_err("the second is not answered");
    }
}
