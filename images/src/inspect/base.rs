// SPDX-License-Identifier: Apache-2.0
//! The base of an image, as a release server has it: a squashfs of the root tree with its package
//! database, next to the image.
use camino::{Utf8Path, Utf8PathBuf};

use loadgauge_host::digest::Inputs;
use loadgauge_host::{Entry, Store};

use super::disk_digest;
use crate::OsRelease;
use crate::base::{Archive, Base};
use crate::file_system::{FilePattern, FileSystem, Selection, Tree};
use crate::image::{Facts, ImageError};

/// The name of the base on a release server.
pub(super) const NAME: &str = "flatcar_production_image_sysext.squashfs";
/// dpkg's database.
const STATUS: &str = "var/lib/dpkg/status";
/// The release of the base.
const OS_RELEASE: &str = "usr/lib/os-release";
/// The [`Archive`] of the packages in dpkg's database.
const ARCHIVE: &str = "usr/share/loadgauge/archive.json";
/// The files that are extracted.
const FILES: [FilePattern; 3] = [
    FilePattern::file("var/lib/dpkg", "status"),
    FilePattern::file("usr/lib", "os-release"),
    FilePattern::file("usr/share/loadgauge", "archive.json"),
];
/// Counts up when other files are extracted.
const FORMAT: &str = "1";

/// The base in the directory of a release, if there is one.
pub(super) fn file(directory: &Utf8Path) -> Option<Utf8PathBuf> {
    let file = directory.join(NAME);
    file.is_file().then_some(file)
}

/// Reads a base of Debian packages. A base without dpkg's database is Gentoo's, whose database is read
/// where it is needed.
///
/// # Errors
/// The base cannot be read, belongs to another release, or does not name its archive.
pub(super) fn read(squashfs: &Utf8Path, facts: &Facts, store: &Store) -> Result<Option<Base>, ImageError> {
    let digest = disk_digest::of_file(squashfs, store)?;
    let tree = Tree::at(&extracted(squashfs, &digest, store)?)?;
    let damaged = |place: &str, cause: String| ImageError::Damaged {
        path: squashfs.to_owned(),
        place: format!("`{place}`"),
        cause,
    };
    let text = tree.text(OS_RELEASE)?.ok_or_else(|| damaged(OS_RELEASE, "it does not exist".to_owned()))?;
    let os_release = OsRelease::parse(&text).map_err(|error| damaged(OS_RELEASE, error.to_string()))?;
    if !is_same_release(&os_release, &facts.os_release) {
        let (found, expected) = (describe(&os_release), describe(&facts.os_release));
        return Err(ImageError::OtherBase { base: squashfs.to_owned(), found, expected });
    }
    let Some(dpkg_status) = tree.find(STATUS).filter(|path| path.is_file()) else { return Ok(None) };
    let Some(text) = tree.text(ARCHIVE)? else { return Err(ImageError::NoArchive(squashfs.to_owned())) };
    let archive: Archive =
        serde_json::from_str(&text).map_err(|error| damaged(ARCHIVE, error.to_string()))?;
    Ok(Some(Base { digest, os_release, architecture: facts.architecture, dpkg_status, archive }))
}

/// Whether two have the same version, and the same board if both name one.
fn is_same_release(one: &OsRelease, other: &OsRelease) -> bool {
    let boards = (one.get("FLATCAR_BOARD"), other.get("FLATCAR_BOARD"));
    one.get("VERSION_ID") == other.get("VERSION_ID")
        && !matches!(boards, (Some(one), Some(other)) if one != other)
}

fn describe(os_release: &OsRelease) -> String {
    let version = os_release.get("VERSION_ID").unwrap_or("an unknown version");
    let board = os_release.get("FLATCAR_BOARD");
    board.map_or_else(|| version.to_owned(), |board| format!("{version} ({board})"))
}

/// Extracts the files that exist, or finds them in the store.
fn extracted(squashfs: &Utf8Path, digest: &str, store: &Store) -> Result<Utf8PathBuf, ImageError> {
    let mut inputs = Inputs::default();
    inputs.add("format", FORMAT);
    inputs.add("base", digest);
    Ok(match store.entry("base", &inputs.finish())? {
        Entry::Ready(entry) => entry,
        Entry::Vacant(vacancy) => {
            let extracted =
                FileSystem::Squashfs.extract(squashfs, vacancy.directory(), Selection::Files(&FILES));
            extracted.map_err(|source| ImageError::FileSystem { what: format!("`{squashfs}`"), source })?;
            vacancy.commit()?
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::Architecture;
    use crate::image::Era;

    fn facts() -> Facts {
        Facts {
            os_release: OsRelease::parse("VERSION_ID=4593.2.0\n").expect("valid"),
            architecture: Architecture::Amd64,
            era: Era::Sysext,
            systemd: 257,
            vendor_extensions: Vec::new(),
        }
    }

    /// Packs files and a device, as every root tree has them in `/dev`.
    fn pack(directory: &Utf8Path, files: &[(&str, &str)]) {
        let tree = directory.join("tree");
        let _ = fs::remove_dir_all(&tree);
        for (path, content) in files {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, content).expect("written");
        }
        let _ = fs::remove_file(directory.join(NAME));
        let mut command = Command::new("mksquashfs");
        command.args([&tree, &directory.join(NAME)]).args(["-quiet", "-no-progress"]);
        command.args(["-p", "dev d 755 0 0", "-p", "dev/null c 666 0 0 1 3"]);
        assert!(command.status().expect("mksquashfs runs").success());
    }

    #[test]
    fn a_base_is_read_and_must_belong_to_the_same_release() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let store = Store::at(directory.join("store"));
        let read = |directory: &Utf8Path| {
            file(directory).map_or(Ok(None), |file| super::read(&file, &facts(), &store))
        };
        assert_eq!(read(directory).expect("none"), None);
        let own = (OS_RELEASE, "ID=flatcar\nVERSION_ID='4593.2.0'\n");
        pack(directory, &[own, ("var/db/pkg/a/b-1/CONTENTS", "")]);
        assert_eq!(read(directory).expect("of Gentoo"), None);
        pack(directory, &[own, (STATUS, "Package: a\n")]);
        assert!(matches!(read(directory), Err(ImageError::NoArchive(_))));
        let archive = r#"{"mirror":"http://m","suite":"s","components":["main"],"keyring":"/k"}"#;
        pack(directory, &[own, (STATUS, "Package: a\n"), (ARCHIVE, archive)]);
        let base = read(directory).expect("read").expect("there");
        assert_eq!(fs::read_to_string(&base.dpkg_status).expect("read"), "Package: a\n");
        assert_eq!((base.archive.suite.as_str(), base.os_release.get("ID")), ("s", Some("flatcar")));
        pack(
            directory,
            &[(OS_RELEASE, "VERSION_ID=4593.2.1\n"), (STATUS, "Package: a\n"), (ARCHIVE, archive)],
        );
        let error = read(directory).expect_err("another release");
        assert!(error.to_string().ends_with("is the base of 4593.2.1, but the image is 4593.2.0"), "{error}");
    }
}
