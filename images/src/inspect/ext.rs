// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use camino::Utf8Path;

use super::file_system::{Wanted, failed, limited};
use crate::image::{ImageError, io};
use loadgauge_host::CommandExt as _;

/// What debugfs(8) says before each command of a file that it works through.
const PROMPT: &str = "debugfs: ";
/// The kind of a regular file, of the kinds in a mode.
const REGULAR: u32 = 0o100_000;

/// A file in a directory that was listed.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    directory: String,
    inode: u32,
    name: String,
}

/// Copies wanted regular files to the same paths below a directory, by debugfs(8).
pub(super) fn dump(image: &Utf8Path, wanted: &[Wanted], target: &Utf8Path) -> Result<(), ImageError> {
    let directories: BTreeSet<&str> = wanted.iter().map(|files| files.directory).collect();
    let commands: String = directories.iter().fold(String::new(), |mut text, directory| {
        let _ = writeln!(text, "ls -p \"/{directory}\"");
        text
    });
    let said = debug(image, &commands, target)?;
    let mut commands = String::new();
    for Listed { directory, inode, name } in listed(&said) {
        if !wanted.iter().any(|files| files.directory == directory && files.matches(&name)) {
            continue;
        }
        let place = target.join(&directory);
        fs::create_dir_all(&place).map_err(io("create", &place))?;
        let file = place.join(name);
        if file.as_str().contains(['"', '\n']) {
            continue;
        }
        let _ = writeln!(commands, "dump <{inode}> \"{file}\"");
    }
    debug(image, &commands, target).map(drop)
}

/// Works through commands and gives what was said. A directory that is not there is no error; a file
/// system that cannot be opened is.
fn debug(image: &Utf8Path, commands: &str, target: &Utf8Path) -> Result<String, ImageError> {
    let script = target.with_extension("debugfs");
    fs::write(&script, commands).map_err(io("write", &script))?;
    let output =
        limited("debugfs")?.args(["-f", script.as_str(), image.as_str()]).run().map_err(failed(image))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if let Some(line) = errors.lines().find(|line| line.contains("while trying to open")) {
        return Err(ImageError::Damaged {
            path: image.to_owned(),
            place: "superblock".to_owned(),
            cause: line.to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The regular files in what `ls -p` printed: `/INODE/MODE/USER/GROUP/NAME/SIZE/`.
fn listed(said: &str) -> Vec<Listed> {
    let mut directory = String::new();
    let mut files = Vec::new();
    for line in said.lines() {
        if let Some(command) = line.strip_prefix(PROMPT) {
            command.trim_start_matches("ls -p \"/").trim_end_matches('"').clone_into(&mut directory);
            continue;
        }
        let fields: Vec<&str> = line.split('/').collect();
        let [_, inode, mode, _, _, name, ..] = fields.as_slice() else { continue };
        let is_regular = u32::from_str_radix(mode, 8).is_ok_and(|mode| mode & 0o170_000 == REGULAR);
        if let (true, Ok(inode)) = (is_regular, inode.parse()) {
            files.push(Listed { directory: directory.clone(), inode, name: (*name).to_owned() });
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_read_and_all_but_regular_files_left_out() {
        let said = "debugfs: ls -p \"/lib\"\n/2/040755/0/0/.//\n/13/100644/0/0/os-release/11/\n\
                    /14/120777/0/0/link/4/\ndebugfs: ls -p \"/gone\"\n";
        let expected = Listed { directory: "lib".to_owned(), inode: 13, name: "os-release".to_owned() };
        assert_eq!(listed(said), [expected]);
    }
}
