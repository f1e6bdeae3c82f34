// SPDX-License-Identifier: Apache-2.0
use crate::Hint;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

/// An external program that is installed on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    path: Utf8PathBuf,
}

/// A program that the host lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not installed")]
pub struct MissingTool {
    /// the program's name
    pub name: String,
}

/// Programs, each with the Debian package that contains it.
const PACKAGES: &[(&str, &str)] = &[
    ("apt-get", "apt"),
    ("btrfs", "btrfs-progs"),
    ("debugfs", "e2fsprogs"),
    ("dump.erofs", "erofs-utils"),
    ("e2fsck", "e2fsprogs"),
    ("file", "file"),
    ("fsck.erofs", "erofs-utils"),
    ("grub-mkimage", "grub-common grub-pc-bin grub-efi-amd64-bin"),
    ("mcopy", "mtools"),
    ("mdir", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.erofs", "erofs-utils"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.vfat", "dosfstools"),
    ("mksquashfs", "squashfs-tools"),
    ("mmdebstrap", "mmdebstrap"),
    ("mmd", "mtools"),
    ("newuidmap", "uidmap"),
    ("openssl", "openssl"),
    ("qemu-img", "qemu-utils"),
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("sfdisk", "fdisk"),
    ("swtpm", "swtpm"),
    ("systemd-dissect", "systemd-container"),
    ("unshare", "util-linux"),
    ("unsquashfs", "squashfs-tools"),
    ("veritysetup", "cryptsetup-bin"),
];

impl Tool {
    /// Searches for a program on the PATH and in the directories for administrators, which an ordinary
    /// user's PATH omits.
    ///
    /// # Errors
    /// The program is not installed; [`MissingTool::hint`] names its package.
    pub fn find(name: &str) -> Result<Self, MissingTool> {
        let found = which::which(name)
            .or_else(|_| which::which_in(name, Some("/usr/local/sbin:/usr/sbin:/sbin"), "/"));
        match found.map(Utf8PathBuf::from_path_buf) {
            Ok(Ok(path)) => Ok(Self { path }),
            _ => Err(MissingTool { name: name.to_owned() }),
        }
    }

    /// Returns the path of the program.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Returns a command that runs the program, with English messages and times in UTC.
    #[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command
    }
}

impl Hint for MissingTool {
    fn hint(&self) -> Option<String> {
        PACKAGES
            .iter()
            .find(|(name, _)| *name == self.name)
            .map(|(_, package)| format!("install it: sudo apt-get install {package}"))
    }
}
