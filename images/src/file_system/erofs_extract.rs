// SPDX-License-Identifier: Apache-2.0
use std::process::Stdio;

use camino::Utf8Path;
use loadgauge_host::{Confinement, fs};

use super::erofs::Erofs;
use super::error::FileSystemError;
use super::list::{ExtendedAttribute, Inode as _, KIND, REGULAR, Reader, attributes, escape, list};
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
    let confinement = Confinement { readable: &[image], writable: &[target], as_root: false };
    let mut command = confinement.command("fsck.erofs")?;
    command.arg(format!("--extract={target}")).arg("--force");
    command.args(match selection {
        Selection::All => ["--no-preserve-owner", "--preserve-perms"],
        Selection::Files(_) => ["--no-preserve-owner", "--no-preserve-perms"],
    });
    let output = confinement.run(command.arg(image), Stdio::null())?;
    // Some versions report damage and exit with status 0.
    for entry in &entries {
        let is_selected = entry.path.to_str().is_some_and(|path| selection.contains(path));
        let is_expected = matches!(selection, Selection::All) || entry.inode.mode() & KIND == REGULAR;
        if is_selected && is_expected && target.as_std_path().join(&entry.path).symlink_metadata().is_err() {
            let report = String::from_utf8_lossy(&output.stderr);
            let report = report.lines().next_back().unwrap_or("fsck.erofs reports no error").trim();
            let path = escape(entry.path.as_os_str().as_encoded_bytes());
            return Err(FileSystemError::Incomplete(format!("`/{path}` is missing: {report}")));
        }
    }
    match selection {
        Selection::All => attributes(&erofs, &entries),
        Selection::Files(_) => Ok(Vec::new()),
    }
}
