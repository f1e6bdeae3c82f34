// SPDX-License-Identifier: Apache-2.0
//! What a disk of QEMU's format builds on ("backing file").
//!
//! The header of such a disk may name anything that its reader may open: a secret of the user, a
//! device, an address on the network. QEMU follows all of it. Here a path is followed to a regular
//! file which is a disk itself, with a partition table or of QEMU's format, and whose format is named;
//! whatever else is told and not read. So no disk from elsewhere shows what is no disk.
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::Disk;
use super::qcow2::Backing;
use crate::image::ImageError;

/// No chain of disks is longer.
const DEEPEST: usize = 16;
/// What begins the second sector of a disk with a partition table.
const TABLE: &[u8; 8] = b"EFI PART";

/// Opens what a disk builds on, for the disk that is so many levels below the one that was asked for.
pub(super) fn open(disk: &Utf8Path, backing: &Backing, level: usize) -> Result<Disk, ImageError> {
    let fail = |cause: &str| ImageError::Backing {
        path: disk.to_owned(),
        below: backing.name.clone(),
        cause: cause.to_owned(),
    };
    if level > DEEPEST {
        return Err(fail("there are too many disks below each other"));
    }
    let path = path(disk, &backing.name).ok_or_else(|| fail("that is not the path of a file"))?;
    let metadata = std::fs::metadata(&path).map_err(|error| fail(&error.to_string()))?;
    if !metadata.is_file() {
        return Err(fail("that is not a regular file"));
    }
    let mut beginning = [0; 520];
    let file = File::open(&path).map_err(|error| fail(&error.to_string()))?;
    // What is shorter than this is no disk either.
    let is_long = file.read_exact_at(&mut beginning, 0).is_ok();
    let is_qcow2 = beginning.starts_with(&super::qcow2::MAGIC);
    let is_right = match backing.format.as_deref() {
        Some("qcow2") => is_long && is_qcow2,
        Some("raw") => is_long && beginning.ends_with(TABLE) && !is_qcow2,
        Some(format) => return Err(fail(&format!("its format `{format}` is not known"))),
        None => return Err(fail("it does not say in which format that is")),
    };
    if !is_right {
        return Err(fail("that is no disk of the format that it says"));
    }
    Disk::open_above(&path, level)
}

/// Where a name leads, counted from the disk's own directory; nothing where it is an address of
/// another kind: what has a colon before its first slash.
///
/// Source: `path_has_protocol` of QEMU's `block.c`.
fn path(disk: &Utf8Path, name: &str) -> Option<Utf8PathBuf> {
    let is_address = name.split('/').next().is_some_and(|first| first.contains(':'));
    let directory = disk.parent().unwrap_or(Utf8Path::new("."));
    (!is_address && !name.contains('\0')).then(|| directory.join(name))
}
