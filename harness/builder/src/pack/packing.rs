// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_images::Architecture;

use super::options::{Packing, SquashfsCompression};
use super::program_text::program_text;
use super::{Identity, PackError, btrfs, ddi, directory, erofs, ext4, squashfs};
use crate::extension::Format;
use crate::stage::{Node, Staged};

/// Packs a settled tree into a new file or directory. The tree must not be used afterwards: the directory
/// format moves its files. `architecture` selects the partition types of a DDI.
///
/// # Errors
/// See [`PackError`].
pub fn pack(
    staged: &Staged,
    format: Format,
    packing: &Packing,
    architecture: Architecture,
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), PackError> {
    check_owners(staged, format)?;
    match format {
        Format::Directory => directory::pack(staged, output),
        Format::Squashfs => squashfs::pack(staged, packing.squashfs(), identity, output),
        Format::Erofs => erofs::pack(staged, packing, identity, output),
        Format::Ext4 => ext4::pack(staged, identity, output),
        Format::Btrfs => btrfs::pack(staged, identity, output),
        Format::Ddi => {
            let filesystem = output.with_extension("filesystem");
            pack(staged, packing.ddi_filesystem().into(), packing, architecture, identity, &filesystem)?;
            ddi::pack(&filesystem, architecture, packing.signer.as_ref(), identity, output)?;
            if packing.damaged { ddi::damage(output) } else { Ok(()) }
        }
    }
}

/// Checks that the owners of all files can be written: mkfs.erofs, mkfs.btrfs and directories take them from
/// the host's files, which only root can give to others.
fn check_owners(staged: &Staged, format: Format) -> Result<(), PackError> {
    let needs_root = matches!(format, Format::Directory | Format::Erofs | Format::Btrfs);
    if !needs_root || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // A set-id file is the one that matters most.
    let is_set_id = |node: &Node| node.mode & 0o6000 != 0;
    let Some((path, node)) = staged.not_of_root().max_by_key(|(_, node)| is_set_id(node)) else {
        return Ok(());
    };
    Err(PackError::Owner { path: path.to_owned(), mode: node.mode, owner: node.owner, format })
}

/// Packs a package database as Flatcar's SDK does: squashfs, zstd at the highest level.
///
/// # Errors
/// See [`PackError`].
pub(crate) fn pack_database(
    staged: &Staged,
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), PackError> {
    squashfs::pack(staged, (SquashfsCompression::Zstd, Some(22)), identity, output)
}

/// The program that packs a format, with its version.
///
/// # Errors
/// The host lacks it, it fails, or it does not support the compression of `packing`.
pub fn packer(format: Format, packing: &Packing) -> Result<String, PackError> {
    let (name, argument) = match format {
        Format::Directory => return Ok("none".to_owned()),
        Format::Squashfs => ("mksquashfs", "-version"),
        Format::Erofs => ("mkfs.erofs", "-V"),
        Format::Ext4 => ("mke2fs", "-V"),
        Format::Btrfs => ("mkfs.btrfs", "--version"),
        Format::Ddi => return packer(packing.ddi_filesystem().into(), packing),
    };
    if format == Format::Erofs {
        erofs::check(packing.erofs().0)?;
    }
    let text = program_text(name, argument)?;
    let says_version = |line: &&str| {
        line.split('.').any(|part| part.ends_with(|c: char| c.is_ascii_digit())) && line.contains(name)
    };
    text.lines()
        .find(says_version)
        .map(|line| line.trim().to_owned())
        .ok_or_else(|| PackError::NoVersion { command: format!("{name} {argument}") })
}
