// SPDX-License-Identifier: Apache-2.0
//! Opens the backing files of qcow2 disks.
//!
//! The header of a qcow2 disk may name anything that its reader can open: a secret of the user, a
//! device, a network address. QEMU opens all of them.
//!
//! This module accepts only a regular file that is a disk itself: it has a partition table or the format
//! qcow2, and the header names that format. A foreign disk therefore does not expose files that are not
//! disks.
use std::os::unix::fs::FileExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::fs;

use super::Disk;
use super::qcow2::Backing;
use crate::image::ImageError;

/// The longest chain of backing files.
const DEEPEST: usize = 16;
/// The first bytes of the second sector of a disk with a partition table.
const TABLE: &[u8; 8] = b"EFI PART";

/// Opens the backing file of a disk, `level` levels below the disk that the caller opened.
pub(super) fn open(disk: &Utf8Path, backing: &Backing, level: usize) -> Result<Disk, ImageError> {
    let fail = |cause: &str| ImageError::Backing {
        path: disk.to_owned(),
        below: backing.name.escape_debug().to_string(),
        cause: cause.to_owned(),
    };
    if level > DEEPEST {
        return Err(fail("the chain of backing files is too long"));
    }
    let path = path(disk, &backing.name).ok_or_else(|| fail("it is not a path"))?;
    let metadata = fs::metadata(&path).map_err(|error| fail(&error.source.to_string()))?;
    if !metadata.is_file() {
        return Err(fail("it is not a regular file"));
    }
    let mut beginning = [0; 520];
    let file = fs::open(&path).map_err(|error| fail(&error.source.to_string()))?;
    // A file that is shorter than this is not a disk.
    let is_long = file.read_exact_at(&mut beginning, 0).is_ok();
    let is_qcow2 = beginning.starts_with(&super::qcow2::MAGIC);
    let is_expected = match backing.format.as_deref() {
        Some("qcow2") => is_long && is_qcow2,
        Some("raw") => is_long && beginning.ends_with(TABLE) && !is_qcow2,
        Some(format) => {
            return Err(fail(&format!("its format `{}` is not supported", format.escape_debug())));
        }
        None => return Err(fail("the header does not name its format")),
    };
    if !is_expected {
        return Err(fail("it is not a disk of the format that the header names"));
    }
    Disk::open_above(&path, level)
}

/// Returns the path of a backing file, relative to the directory of the disk.
///
/// Returns `None` if the name is an address of another kind, with a colon before its first slash.
///
/// Source: `path_has_protocol` of QEMU's `block.c`.
fn path(disk: &Utf8Path, name: &str) -> Option<Utf8PathBuf> {
    let is_address = name.split('/').next().is_some_and(|first| first.contains(':'));
    let directory = disk.parent().unwrap_or(Utf8Path::new("."));
    (!is_address && !name.contains('\0')).then(|| directory.join(name))
}
