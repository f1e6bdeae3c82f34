// SPDX-License-Identifier: Apache-2.0
use std::fs::{File, Permissions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use camino::Utf8Path;
use loadgauge_host::{Confinement, FileError, fs};

use super::btrfs_tree;
use super::error::FileSystemError;
use super::ext_extract::special;
use super::list::{BLOCK_DEVICE, CHARACTER_DEVICE, ExtendedAttribute, KIND, escape};
use super::select::{FilePattern, Selection};

/// Extracts a btrfs with btrfs-restore(8), which needs no mount.
///
/// btrfs-restore writes to any path that a name forms. If everything is extracted, the names in the
/// listing are checked first. Otherwise it restores only paths that match [`expression`], and no links.
pub(super) fn extract(
    image: &Utf8Path,
    target: &Utf8Path,
    selection: Selection<'_>,
) -> Result<Vec<ExtendedAttribute>, FileSystemError> {
    let as_root = matches!(selection, Selection::All);
    let confinement = Confinement { readable: &[image], writable: &[target], as_root };
    let mut command = confinement.command("btrfs")?;
    let mut not_restored = btrfs_tree::NotRestored::default();
    match selection {
        Selection::Files(patterns) => drop(command.args(["restore", "--path-regex", &expression(patterns)])),
        Selection::All => {
            command.args(["restore", "--metadata", "--symlink", "--xattr"]);
            let mut list = confinement.command("btrfs")?;
            list.args(["inspect-internal", "dump-tree", "-t", "5"]).arg(image);
            let output = confinement.run(&mut list, Stdio::null())?;
            btrfs_tree::check(&output.stdout)?;
            // btrfs-restore does not restore the attributes of directories.
            not_restored = btrfs_tree::read(&String::from_utf8_lossy(&output.stdout));
            let is_device = |(_, mode, device): &&(_, u32, u64)| {
                mode & KIND == BLOCK_DEVICE || mode & KIND == CHARACTER_DEVICE && *device != 0
            };
            if let Some((path, ..)) = not_restored.special.iter().find(is_device) {
                return Err(FileSystemError::Device(escape(path.as_str().as_bytes())));
            }
        }
    }
    let answers = answers().map_err(FileError::at("write", "answers for btrfs"))?;
    confinement.run(command.args([image, target]), answers.into())?;
    for (path, mode) in not_restored.set_id {
        // btrfs-restore sets the mode of a file before its content, which removes set-id bits. These
        // paths come from other items than the checked names, so none may lead through a link.
        let path = target.join(path);
        let is_own = path.canonicalize_utf8().is_ok_and(|real| real == path);
        if is_own && path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
    }
    for (path, mode, _) in not_restored.special {
        // btrfs-restore leaves them out. Nothing can be at the path but a file of the image.
        let path = target.join(path);
        let is_own =
            path.parent().is_some_and(|parent| parent.canonicalize_utf8().is_ok_and(|real| real == parent));
        if is_own && path.symlink_metadata().is_err() {
            special(mode & KIND, path.as_std_path())?;
        }
    }
    Ok(not_restored.attributes)
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
    let escape = |text: &str| text.replace('.', r"\.");
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
