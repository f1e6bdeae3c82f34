// SPDX-License-Identifier: Apache-2.0
//! Checks what programs extracted, since some report damage and exit with status 0.
use std::fs::Metadata;
use std::path::Path;
use std::process::Output;

use camino::Utf8Path;

use super::error::FileSystemError;
use super::list::{DIRECTORY, Entry, Inode as _, KIND, LINK, REGULAR, Reader, escape};
use super::select::Selection;

/// Checks that a program reported no error.
///
/// # Errors
/// A line of standard error begins with a mark of an error.
pub(super) fn check(output: &Output, marks: &[&str]) -> Result<(), FileSystemError> {
    let mut lines = output.stderr.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let is_error = |line: &&[u8]| marks.iter().any(|mark| line.starts_with(mark.as_bytes()));
    match lines.find(is_error) {
        Some(line) => Err(FileSystemError::Incomplete(escape(line))),
        None => Ok(()),
    }
}

/// Checks that the selected files were extracted with their kinds and sizes.
///
/// Special files are not checked, because not all programs extract them.
///
/// # Errors
/// The first file that is missing or different.
pub(super) fn check_files<R: Reader>(
    reader: &R,
    entries: &[Entry<R::Inode>],
    target: &Utf8Path,
    selection: Selection<'_>,
) -> Result<(), FileSystemError> {
    for entry in entries {
        let kind = entry.inode.mode() & KIND;
        let is_expected = match selection {
            Selection::All => matches!(kind, REGULAR | DIRECTORY | LINK),
            Selection::Files(_) => {
                kind == REGULAR && entry.path.to_str().is_some_and(|path| selection.contains(path))
            }
        };
        if !is_expected {
            continue;
        }
        let path = target.as_std_path().join(&entry.path);
        let fault = match path.symlink_metadata() {
            Err(_) => Some("is missing".to_owned()),
            Ok(metadata) => fault(reader, entry, &path, &metadata)?,
        };
        if let Some(fault) = fault {
            let path = escape(entry.path.as_os_str().as_encoded_bytes());
            return Err(FileSystemError::Incomplete(format!("`/{path}` {fault}")));
        }
    }
    Ok(())
}

/// Returns the difference between a file in an image and the extracted one.
fn fault<R: Reader>(
    reader: &R,
    entry: &Entry<R::Inode>,
    path: &Path,
    found: &Metadata,
) -> Result<Option<String>, FileSystemError> {
    let is_same = match entry.inode.mode() & KIND {
        REGULAR => found.is_file(),
        DIRECTORY => found.is_dir(),
        _ => found.is_symlink(),
    };
    if !is_same {
        return Ok(Some("was extracted as another kind of file".to_owned()));
    }
    let expected = entry.inode.size();
    if found.is_file() && found.len() != expected {
        return Ok(Some(format!("has {expected} bytes, of which {} were extracted", found.len())));
    }
    if found.is_symlink() {
        let target = reader.link_target(&entry.inode).map_err(FileSystemError::read(R::KIND))?;
        let found = path.read_link().unwrap_or_default();
        if found.as_os_str().as_encoded_bytes() != target {
            return Ok(Some("was extracted with another target".to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_error_on_standard_error_counts_though_the_status_is_0() {
        let run = |text: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", "printf \"$1\" >&2", "sh", text]).stdin(Stdio::null());
            check(&command.output().expect("sh runs"), &["<E>", "ERROR"]).map_err(|error| error.to_string())
        };
        assert_eq!(run(""), Ok(()));
        assert_eq!(run("<W> erofs: ERROR is no word of this line\n"), Ok(()));
        let expected = "cannot extract all of its files: <E> erofs: failed to read";
        assert_eq!(run("<W> erofs: old\n<E> erofs: failed to read\n"), Err(expected.to_owned()));
    }
}
