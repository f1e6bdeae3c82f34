// SPDX-License-Identifier: Apache-2.0
use std::process::Stdio;

use camino::Utf8Path;
use loadgauge_host::{CommandError, Confinement, fs};

use super::error::FileSystemError;
use super::extracted::{check, check_files};
use super::list::{Reader as _, escape, list, refuse_devices};
use super::select::Selection;
use super::squashfs::Squashfs;

/// Extracts a squashfs with unsquashfs(1).
///
/// [`list`] checks everything before unsquashfs starts. unsquashfs itself refuses names that lead out of
/// their directory or repeat, from 4.5.1 on and in Debian's 4.5.
pub(super) fn extract(
    image: &Utf8Path,
    target: &Utf8Path,
    selection: Selection<'_>,
) -> Result<(), FileSystemError> {
    let file = fs::open(image)?;
    let squashfs = Squashfs::open(&file).map_err(FileSystemError::read(Squashfs::KIND))?;
    let entries = list(&squashfs)?;
    if matches!(selection, Selection::All) {
        refuse_devices(&entries)?;
    }
    let confinement =
        Confinement { readable: &[image], writable: &[target], as_root: matches!(selection, Selection::All) };
    let mut command = confinement.command("unsquashfs")?;
    command.args(["-quiet", "-no-progress", "-force", "-dest", target.as_str()]);
    match selection {
        Selection::All => drop(command.arg(image)),
        Selection::Files(patterns) => {
            command.args(["-no-xattrs", image.as_str()]);
            for pattern in patterns {
                let name = if pattern.is_open { "*" } else { "" };
                let [directory, prefix, suffix] =
                    [pattern.directory, pattern.prefix, pattern.suffix].map(literal);
                command.arg(format!("{directory}/{prefix}{name}{suffix}"));
            }
        }
    }
    let output = confinement.run(&mut command, Stdio::null()).map_err(refusal)?;
    check(&output, &["FATAL ERROR"])?;
    check_files(&squashfs, &entries, target, selection)
}

/// Returns the wildcard that matches a text only.
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut wildcard, character| {
        if "*?[]\\".contains(character) {
            wildcard.push('\\');
        }
        wildcard.push(character);
        wildcard
    })
}

/// Distinguishes the refusal of a damaged or hostile image from other failures of unsquashfs.
fn refusal(error: CommandError) -> FileSystemError {
    match &error {
        CommandError::Failed { tail, .. } => match tail.lines().find(|line| line.contains("corrupted")) {
            Some(line) => FileSystemError::Refused(escape(line.trim().as_bytes())),
            None => error.into(),
        },
        _ => error.into(),
    }
}
