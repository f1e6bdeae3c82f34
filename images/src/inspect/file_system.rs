// SPDX-License-Identifier: Apache-2.0
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::ext;
use crate::image::{ImageError, io};
use loadgauge_host::{CommandExt as _, Tool};

/// No file that is taken out of a file system is larger, in blocks of 512 bytes as a shell counts them:
/// 2 GiB. A program that is fed foreign bytes has this many seconds.
const LIMITED: &str = "ulimit -f 4194304; exec timeout 600 \"$@\"";

/// A file system that files can be taken out of without mounting it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    /// /usr from 3794, and OEM
    Btrfs,
    /// /usr up to 3760, and ROOT
    Ext,
    /// extensions up to 4593
    Squashfs,
    /// extensions from 4628
    Erofs,
}

impl std::fmt::Display for FileSystem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Btrfs => "btrfs",
            Self::Ext => "ext2/3/4",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        })
    }
}

/// Files of one directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// relative to the root of the file system
    pub(super) directory: &'static str,
    /// what the names begin with
    pub(super) prefix: &'static str,
    /// and end with
    pub(super) suffix: &'static str,
    /// whether there may be anything between the two; without, they are one name
    pub(super) is_open: bool,
}

impl Wanted {
    /// One file by its path.
    pub(super) const fn file(directory: &'static str, name: &'static str) -> Self {
        Self { directory, prefix: name, suffix: "", is_open: false }
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let (shortest, longest) = (self.prefix.len() + self.suffix.len(), if self.is_open { 255 } else { 0 });
        let fits = (shortest..=longest.max(shortest)).contains(&name.len());
        fits && name.starts_with(self.prefix) && name.ends_with(self.suffix) && !name.contains('/')
    }
}

impl FileSystem {
    /// Recognises a file system by its magic numbers.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn identify(image: &Utf8Path) -> Result<Option<Self>, ImageError> {
        let file = File::open(image).map_err(io("open", image))?;
        let is_at = |magic: &[u8], offset: u64| {
            let mut found = vec![0; magic.len()];
            file.read_exact_at(&mut found, offset).is_ok_and(|()| found == magic)
        };
        Ok([
            (Self::Squashfs, is_at(b"hsqs", 0)),
            (Self::Erofs, is_at(&[0xe2, 0xe1, 0xf5, 0xe0], 1024)),
            (Self::Ext, is_at(&[0x53, 0xef], 1080)),
            (Self::Btrfs, is_at(b"_BHRfS_M", 0x1_0040)),
        ]
        .into_iter()
        .find_map(|(kind, is_it)| is_it.then_some(kind)))
    }

    /// Copies wanted files to the same paths below a directory. What is not there is left out, and so
    /// are links.
    ///
    /// # Errors
    /// A program is missing or cannot read the file system.
    pub(super) fn collect(
        self,
        image: &Utf8Path,
        wanted: &[Wanted],
        target: &Utf8Path,
    ) -> Result<(), ImageError> {
        fs::create_dir_all(target).map_err(io("create", target))?;
        match self {
            Self::Btrfs => restore_btrfs(image, wanted, target),
            Self::Ext => ext::dump(image, wanted, target),
            Self::Squashfs => unpack_squashfs(image, wanted, target),
            Self::Erofs => {
                let mut command = limited("fsck.erofs")?;
                command.arg(format!("--extract={target}")).arg("--force").arg(image);
                run(&mut command, Stdio::null(), image)
            }
        }
    }
}

/// A command for a program that reads foreign bytes.
pub(super) fn limited(name: &str) -> Result<Command, ImageError> {
    let tool = Tool::find(name)?;
    let mut command = Tool::find("sh")?.command();
    command.args(["-c", LIMITED, "sh", tool.path().as_str()]);
    Ok(command)
}

pub(super) fn run(command: &mut Command, input: Stdio, image: &Utf8Path) -> Result<(), ImageError> {
    command.run_with(input).map(drop).map_err(failed(image))
}

pub(super) fn failed(image: &Utf8Path) -> impl FnOnce(loadgauge_host::CommandError) -> ImageError + use<> {
    let what = image.file_name().unwrap_or("a file system").to_owned();
    move |source| ImageError::Command { what, source }
}

/// btrfs-restore(8) is for damaged file systems and needs no mount. Since links are not restored, and
/// no name that is restored can be `..`, nothing is written outside of the target.
fn restore_btrfs(image: &Utf8Path, wanted: &[Wanted], target: &Utf8Path) -> Result<(), ImageError> {
    let scratch = target.parent().unwrap_or(target);
    // It asks whether to go on with files of many extents; this says always.
    let answers = scratch.join("answers");
    fs::write(&answers, "a\n".repeat(1000)).map_err(io("write", &answers))?;
    let input = File::open(&answers).map_err(io("open", &answers))?;
    let mut command = limited("btrfs")?;
    command.args(["restore", "--path-regex", &expression(wanted), image.as_str(), target.as_str()]);
    run(&mut command, input.into(), image)
}

/// The regular expression that matches wanted files and the directories above them.
fn expression(wanted: &[Wanted]) -> String {
    let escape = |text: &str| text.replace('.', r"\.");
    let mut paths = vec![String::new()];
    for files in wanted {
        let directories = Utf8Path::new(files.directory).ancestors().filter(|path| !path.as_str().is_empty());
        paths.extend(directories.map(|path| escape(path.as_str())));
        let name = if files.is_open { "[^/]*" } else { "" };
        let separator = if files.directory.is_empty() { "" } else { "/" };
        let (directory, prefix, suffix) =
            (escape(files.directory), escape(files.prefix), escape(files.suffix));
        paths.push(format!("{directory}{separator}{prefix}{name}{suffix}"));
    }
    paths.sort();
    paths.dedup();
    format!("^/({})$", paths.join("|"))
}

fn unpack_squashfs(image: &Utf8Path, wanted: &[Wanted], target: &Utf8Path) -> Result<(), ImageError> {
    let mut command = limited("unsquashfs")?;
    command.args([
        "-quiet",
        "-no-progress",
        "-no-xattrs",
        "-force",
        "-dest",
        target.as_str(),
        image.as_str(),
    ]);
    for files in wanted {
        let name = if files.is_open { "*" } else { "" };
        command.arg(format!("{}/{}{name}{}", files.directory, files.prefix, files.suffix));
    }
    run(&mut command, Stdio::null(), image)
}

/// A tree of files that were taken out of an image. No link leads out of it.
#[derive(Debug)]
pub(super) struct Tree {
    root: Utf8PathBuf,
}

impl Tree {
    pub(super) fn at(root: &Utf8Path) -> Result<Self, ImageError> {
        Ok(Self { root: root.canonicalize_utf8().map_err(io("find", root))? })
    }

    /// Where a path of the tree lies, if it is there and in the tree.
    pub(super) fn find(&self, path: &str) -> Option<Utf8PathBuf> {
        self.root.join(path).canonicalize_utf8().ok().filter(|found| found.starts_with(&self.root))
    }

    /// A small text file, if it is there.
    ///
    /// # Errors
    /// It is larger than 1 MiB or not UTF-8.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, ImageError> {
        let Some(found) = self.find(path).filter(|found| found.is_file()) else { return Ok(None) };
        let file = File::open(&found).map_err(io("open", &found))?;
        let mut text = String::new();
        file.take((1 << 20) + 1).read_to_string(&mut text).map_err(io("read", &found))?;
        if text.len() > 1 << 20 {
            return Err(io("read", &found)(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(Some(text))
    }

    /// The names of the regular files that are wanted, in order.
    pub(super) fn names(&self, wanted: Wanted) -> Vec<String> {
        let Some(directory) = self.find(wanted.directory) else { return Vec::new() };
        let entries = directory.read_dir_utf8().into_iter().flatten().flatten();
        // A pipe, which an image may hold as well, would keep its reader waiting.
        let entries = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_owned()).filter(|name| wanted.matches(name)).collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [Wanted; 4] = [
        Wanted::file("lib", "os-release"),
        Wanted { directory: "lib/systemd", prefix: "libsystemd-shared-", suffix: ".so", is_open: true },
        Wanted { directory: "share/flatcar/sysext", prefix: "", suffix: ".raw", is_open: true },
        Wanted::file("", "top"),
    ];

    #[test]
    fn the_expression_matches_files_and_what_is_above_them() {
        assert_eq!(
            expression(&WANTED),
            r"^/(|lib|lib/os-release|lib/systemd|lib/systemd/libsystemd-shared-[^/]*\.so|share|share/flatcar|share/flatcar/sysext|share/flatcar/sysext/[^/]*\.raw|top)$"
        );
    }

    /// A tree with all that is wanted, something else, and a link.
    fn tree(directory: &Utf8Path) -> Utf8PathBuf {
        let tree = directory.join("tree");
        for (path, content) in [
            ("lib/os-release", "ID=flatcar\n"),
            ("lib/other", "no\n"),
            ("lib/systemd/libsystemd-shared-257.so", "yes\n"),
            ("lib/systemd/libsystemd-core-257.so", "no\n"),
            ("share/flatcar/sysext/a.raw", "a\n"),
            ("share/flatcar/sysext/b b.raw", "b\n"),
            ("top", "top\n"),
        ] {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, content).expect("written");
        }
        let extensions = tree.join("share/flatcar/sysext");
        std::os::unix::fs::symlink("/etc/passwd", extensions.join("link.raw")).expect("linked");
        fs::create_dir(extensions.join("directory.raw")).expect("made");
        host(&format!("mkfifo {extensions}/pipe.raw"));
        tree
    }

    fn host(line: &str) {
        let output = Command::new("sh")
            .args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {line}")])
            .output()
            .expect("sh runs");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn wanted_files_come_out_of_every_file_system_and_nothing_else() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let tree = tree(directory);
        for (kind, make) in [
            (FileSystem::Btrfs, "truncate -s 120M I && mkfs.btrfs -q --rootdir T I"),
            (FileSystem::Ext, "truncate -s 20M I && mke2fs -q -F -t ext2 -d T I"),
            (FileSystem::Ext, "truncate -s 20M I && mke2fs -q -F -t ext4 -d T I"),
            (FileSystem::Squashfs, "mksquashfs T I -quiet -no-progress -noappend >/dev/null"),
            (FileSystem::Erofs, "rm -f I; mkfs.erofs --quiet I T"),
        ] {
            let image = directory.join("image");
            host(&make.replace('I', image.as_str()).replace(" T", &format!(" {tree}")));
            assert_eq!(FileSystem::identify(&image).expect("read"), Some(kind));
            let target = directory.join("target");
            let _ = fs::remove_dir_all(&target);
            kind.collect(&image, &WANTED, &target).expect("collected");
            let found = Tree::at(&target).expect("there");
            assert_eq!(
                found.text("lib/os-release").expect("read").as_deref(),
                Some("ID=flatcar\n"),
                "{kind}"
            );
            assert_eq!(found.names(WANTED[1]), ["libsystemd-shared-257.so"], "{kind}");
            assert_eq!(found.text("share/flatcar/sysext/b b.raw").expect("read").as_deref(), Some("b\n"));
            assert_eq!(found.text("share/flatcar/sysext/link.raw").expect("nothing"), None, "{kind}");
            assert_eq!(found.names(WANTED[2]), ["a.raw", "b b.raw"], "{kind}");
            assert_eq!(found.text("top").expect("read").as_deref(), Some("top\n"), "{kind}");
            if kind != FileSystem::Erofs {
                assert!(found.find("lib/other").is_none(), "{kind}");
            }
        }
    }

    #[test]
    fn a_file_system_that_is_none_is_refused_by_its_program() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let image = directory.join("image");
        fs::write(&image, vec![7; 200_000]).expect("written");
        assert_eq!(FileSystem::identify(&image).expect("read"), None);
        for kind in [FileSystem::Btrfs, FileSystem::Ext, FileSystem::Squashfs, FileSystem::Erofs] {
            assert!(kind.collect(&image, &WANTED, &directory.join("target")).is_err(), "{kind}");
        }
    }
}
