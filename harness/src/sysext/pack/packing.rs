// SPDX-License-Identifier: Apache-2.0
use std::process::Stdio;

use camino::Utf8Path;
use loadgauge_images::host::{CommandError, CommandExt as _, Tool};

use super::{Identity, PackError, btrfs, directory, erofs, ext4, squashfs};
use crate::sysext::Format;
use crate::sysext::recipe::Packing;
use crate::sysext::stage::Staged;

/// Packs a settled tree into a new file, or a new directory. It is the last thing done with a
/// stage: a directory takes its bytes away.
///
/// # Errors
/// See [`PackError`].
pub fn pack(
    staged: &Staged,
    format: Format,
    packing: &Packing,
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), PackError> {
    match format {
        Format::Directory => directory::pack(staged, output),
        Format::Squashfs => squashfs::pack(staged, packing.squashfs_level, identity, output),
        Format::Erofs => erofs::pack(staged, packing.erofs_level, identity, output),
        Format::Ext4 => ext4::pack(staged, identity, output),
        Format::Btrfs => btrfs::pack(staged, identity, output),
    }
}

/// The program that packs a format, with its version.
///
/// # Errors
/// The host lacks it, or it does not run.
pub fn packer(format: Format) -> Result<String, PackError> {
    let (name, argument) = match format {
        Format::Directory => return Ok("none".to_owned()),
        Format::Squashfs => ("mksquashfs", "-version"),
        Format::Erofs => ("mkfs.erofs", "-V"),
        Format::Ext4 => ("mke2fs", "-V"),
        Format::Btrfs => ("mkfs.btrfs", "--version"),
    };
    let mut command = Tool::find(name)?.command();
    // Not through `run`: mkfs.erofs 1.5 says its version and then fails, as it knows no option
    // for it.
    let output = command
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| CommandError::Start { command: command.line(), source })?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let says_version = |line: &&str| {
        line.split('.').any(|part| part.ends_with(|c: char| c.is_ascii_digit())) && line.contains(name)
    };
    text.lines()
        .find(says_version)
        .map(|line| line.trim().to_owned())
        .ok_or_else(|| PackError::NoVersion { command: command.line() })
}
