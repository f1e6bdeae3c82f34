// SPDX-License-Identifier: Apache-2.0
use std::fs::{File, Permissions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8Path;
use loadgauge_host::{Confinement, FileError, fs};

use super::btrfs::Btrfs;
use super::error::FileSystemError;
use super::extracted::{check, check_files};
use super::list::{
    ExtendedAttribute, Inode as _, KIND, REGULAR, Reader as _, attributes, list, refuse_devices,
};
use super::select::{FilePattern, Selection};

/// Extracts a btrfs with btrfs-restore(8), which needs no mount.
///
/// btrfs-restore writes to any path that a name forms, so [`list`] checks the names first. If files are
/// selected, it restores only paths that match [`expression`], and no links.
pub(super) fn extract(
    image: &Utf8Path,
    target: &Utf8Path,
    selection: Selection<'_>,
) -> Result<Vec<ExtendedAttribute>, FileSystemError> {
    let btrfs = Btrfs::open(&fs::open(image)?).map_err(FileSystemError::read(Btrfs::KIND))?;
    let entries = list(&btrfs)?;
    if matches!(selection, Selection::All) {
        refuse_devices(&entries)?;
    }
    let as_root = matches!(selection, Selection::All);
    let confinement = Confinement { readable: &[image], writable: &[target], as_root };
    let mut command = confinement.command("btrfs")?;
    match selection {
        Selection::Files(patterns) => command.args(["restore", "--path-regex", &expression(patterns)]),
        Selection::All => command.args(["restore", "--metadata", "--symlink", "--xattr"]),
    };
    let answers = answers().map_err(FileError::at("write", "answers for btrfs"))?;
    let output = confinement.run(command.args([image, target]), answers.into())?;
    check(&output, &["ERROR", "Error"])?;
    check_files(&btrfs, &entries, target, selection)?;
    if matches!(selection, Selection::Files(_)) {
        return Ok(Vec::new());
    }
    for entry in &entries {
        let mode = entry.inode.mode();
        // btrfs-restore sets the mode of a file before its content, which removes set-id bits.
        if mode & KIND == REGULAR && mode & 0o6000 != 0 {
            let path = target.as_std_path().join(&entry.path);
            fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))?;
        }
    }
    // btrfs-restore does not restore the attributes of directories.
    attributes(&btrfs, &entries)
}

/// Returns the answer "always" to the question whether to continue with a file of many extents.
fn answers() -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all("a\n".repeat(1000).as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Returns the regular expression that matches files and the directories above them.
fn expression(patterns: &[FilePattern]) -> String {
    let escape = |text: &str| {
        text.chars().fold(String::new(), |mut escaped, character| {
            if r".\*?+[](){}|^$".contains(character) {
                escaped.push('\\');
            }
            escaped.push(character);
            escaped
        })
    };
    let mut paths = vec![String::new()];
    for pattern in patterns {
        let directories = Utf8Path::new(pattern.directory).ancestors();
        let directories = directories.filter(|path| !path.as_str().is_empty());
        paths.extend(directories.map(|path| escape(path.as_str())));
        let name = if pattern.is_open { "[^/]*" } else { "" };
        let separator = if pattern.directory.is_empty() { "" } else { "/" };
        let (directory, prefix, suffix) =
            (escape(pattern.directory), escape(pattern.prefix), escape(pattern.suffix));
        paths.push(format!("{directory}{separator}{prefix}{name}{suffix}"));
    }
    paths.sort();
    paths.dedup();
    format!("^/({})$", paths.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_matches_files_and_the_directories_above_them() {
        let patterns = [
            FilePattern::file("lib", "os-release"),
            FilePattern::between("lib/systemd", "libsystemd-shared-", ".so"),
            FilePattern::between("share/flatcar/sysext", "", ".raw"),
            FilePattern::file("", "top"),
        ];
        assert_eq!(
            expression(&patterns),
            r"^/(|lib|lib/os-release|lib/systemd|lib/systemd/libsystemd-shared-[^/]*\.so|share|share/flatcar|share/flatcar/sysext|share/flatcar/sysext/[^/]*\.raw|top)$"
        );
    }
}
