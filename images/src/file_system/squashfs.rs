// SPDX-License-Identifier: Apache-2.0
use std::process::Stdio;

use camino::Utf8Path;
use loadgauge_host::{CommandError, Confinement};

use super::error::FileSystemError;
use super::list::escape;
use super::select::Selection;

/// Extracts a squashfs with unsquashfs(1).
///
/// unsquashfs refuses names that lead out of their directory or repeat, from 4.5.1 on and in Debian's
/// 4.5. Listing everything first makes this check before anything is written. This function refuses
/// devices.
pub(super) fn extract(
    image: &Utf8Path,
    target: &Utf8Path,
    selection: Selection<'_>,
) -> Result<(), FileSystemError> {
    let confinement =
        Confinement { readable: &[image], writable: &[target], as_root: matches!(selection, Selection::All) };
    if matches!(selection, Selection::All) {
        let mut list = confinement.command("unsquashfs")?;
        list.args(["-lln", "-dest", "", image.as_str()]);
        let output = confinement.run(&mut list, Stdio::null()).map_err(refusal)?;
        if let Some(line) = output.stdout.split(|byte| *byte == b'\n').find(|line| is_device(line)) {
            let line = String::from_utf8_lossy(line);
            // The path follows the time.
            let path = line.split_once(':').and_then(|(_, rest)| rest.split_once(" /"));
            let path = path.map_or("", |(_, path)| path);
            return Err(FileSystemError::Device(escape(path.as_bytes())));
        }
    }
    let mut command = confinement.command("unsquashfs")?;
    command.args(["-quiet", "-no-progress", "-force", "-dest", target.as_str()]);
    match selection {
        Selection::All => drop(command.arg(image)),
        Selection::Files(patterns) => {
            command.args(["-no-xattrs", image.as_str()]);
            for pattern in patterns {
                let name = if pattern.is_open { "*" } else { "" };
                command.arg(format!("{}/{}{name}{}", pattern.directory, pattern.prefix, pattern.suffix));
            }
        }
    }
    confinement.run(&mut command, Stdio::null()).map_err(refusal)?;
    Ok(())
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

/// Whether a line of a listing is about a device: `crw-r--r-- 0/0  1,  3 2026-01-01 00:00 /dev/null`.
///
/// A device with the numbers zero is a whiteout of overlayfs and gives access to nothing.
fn is_device(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let mut fields = text.split_whitespace();
    let (Some(mode), Some(_owner)) = (fields.next(), fields.next()) else { return false };
    let numbers = (fields.next(), fields.next());
    mode.len() == 10 && (mode.starts_with('b') || mode.starts_with('c') && numbers != (Some("0,"), Some("0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_found_in_a_listing_and_whiteouts_are_none() {
        assert!(is_device(b"crw-r--r-- 0/0               1,  3 2026-11-28 20:29 /usr/null"));
        assert!(is_device(b"brw-r--r-- 0/0               8,  0 2026-11-28 20:29 /usr/sda"));
        assert!(!is_device(b"crw-r--r-- 0/0               0,  0 2026-11-28 20:29 /usr/whiteout"));
        assert!(!is_device(b"-rw-r--r-- 0/0               1024 2026-11-28 20:29 /usr/file"));
        assert!(!is_device(b""));
    }
}
