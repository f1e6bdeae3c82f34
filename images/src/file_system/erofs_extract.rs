// SPDX-License-Identifier: Apache-2.0
use std::process::Stdio;

use camino::Utf8Path;
use loadgauge_host::{Confinement, fs};

use super::erofs::Erofs;
use super::error::FileSystemError;
use super::extracted::{check, check_files};
use super::list::{ExtendedAttribute, Reader as _, attributes, list, refuse_devices};
use super::select::Selection;

/// Extracts an erofs with fsck.erofs(8), which extracts all files regardless of the selection.
pub(super) fn extract(
    image: &Utf8Path,
    target: &Utf8Path,
    selection: Selection<'_>,
) -> Result<Vec<ExtendedAttribute>, FileSystemError> {
    let file = fs::open(image)?;
    let erofs = Erofs::open(&file).map_err(FileSystemError::read(Erofs::KIND))?;
    let entries = list(&erofs)?;
    refuse_devices(&entries)?;
    let confinement = Confinement { readable: &[image], writable: &[target], as_root: false };
    let mut command = confinement.command("fsck.erofs")?;
    command.arg(format!("--extract={target}")).arg("--force");
    command.args(match selection {
        Selection::All => ["--no-preserve-owner", "--preserve-perms"],
        Selection::Files(_) => ["--no-preserve-owner", "--no-preserve-perms"],
    });
    let output = confinement.run(command.arg(image), Stdio::null())?;
    check(&output, &["<E>"])?;
    check_files(&erofs, &entries, target, selection)?;
    match selection {
        Selection::All => attributes(&erofs, &entries),
        Selection::Files(_) => Ok(Vec::new()),
    }
}
