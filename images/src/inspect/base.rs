// SPDX-License-Identifier: Apache-2.0
//! The base of an image, as a release server has it: a squashfs of the root tree with its package
//! database, beside the image.
use camino::{Utf8Path, Utf8PathBuf};

use super::file_system::{FileSystem, Tree, Wanted};
use super::identity;
use crate::OsRelease;
use crate::base::{Archive, Base};
use crate::image::{Facts, ImageError};
use loadgauge_host::digest::Inputs;
use loadgauge_host::{Entry, Store};

/// The base by its name on a release server.
pub(super) const NAME: &str = "flatcar_production_image_sysext.squashfs";
/// dpkg's database.
const STATUS: &str = "var/lib/dpkg/status";
/// What the base is of.
const OS_RELEASE: &str = "usr/lib/os-release";
/// Where the packages of dpkg's database are from, an [`Archive`].
const ARCHIVE: &str = "usr/share/loadgauge/archive.json";
/// What is taken out of it.
const WANTED: [Wanted; 3] = [
    Wanted::file("var/lib/dpkg", "status"),
    Wanted::file("usr/lib", "os-release"),
    Wanted::file("usr/share/loadgauge", "archive.json"),
];
/// Counts up when something else is read out of a base.
const FORMAT: &str = "1";

/// The base in the directory of a release, where there is one.
pub(super) fn file(directory: &Utf8Path) -> Option<Utf8PathBuf> {
    let file = directory.join(NAME);
    file.is_file().then_some(file)
}

/// Reads a base of Debian packages. One without dpkg's database is Gentoo's, whose own is read where it
/// is needed.
///
/// # Errors
/// The base cannot be read, is of another release, or does not say where its packages are from.
pub(super) fn read(squashfs: &Utf8Path, facts: &Facts, store: &Store) -> Result<Option<Base>, ImageError> {
    let digest = identity::of_file(squashfs, store)?;
    let tree = Tree::at(&unpacked(squashfs, &digest, store)?)?;
    let damaged = |place: &str, cause: String| ImageError::Damaged {
        path: squashfs.to_owned(),
        place: format!("`{place}`"),
        cause,
    };
    let text = tree.text(OS_RELEASE)?.ok_or_else(|| damaged(OS_RELEASE, "it is not there".to_owned()))?;
    let os_release = OsRelease::parse(&text).map_err(|error| damaged(OS_RELEASE, error.to_string()))?;
    if !is_of_one_release(&os_release, &facts.os_release) {
        let (found, expected) = (words(&os_release), words(&facts.os_release));
        return Err(ImageError::OtherBase { base: squashfs.to_owned(), found, expected });
    }
    let Some(dpkg_status) = tree.find(STATUS).filter(|path| path.is_file()) else { return Ok(None) };
    let Some(text) = tree.text(ARCHIVE)? else { return Err(ImageError::NoArchive(squashfs.to_owned())) };
    let archive: Archive =
        serde_json::from_str(&text).map_err(|error| damaged(ARCHIVE, error.to_string()))?;
    Ok(Some(Base { digest, os_release, architecture: facts.architecture, dpkg_status, archive }))
}

/// Whether two are of one version, and of one board where both tell it.
fn is_of_one_release(one: &OsRelease, other: &OsRelease) -> bool {
    let boards = (one.get("FLATCAR_BOARD"), other.get("FLATCAR_BOARD"));
    one.get("VERSION_ID") == other.get("VERSION_ID")
        && !matches!(boards, (Some(one), Some(other)) if one != other)
}

fn words(os_release: &OsRelease) -> String {
    let version = os_release.get("VERSION_ID").unwrap_or("of no version");
    let board = os_release.get("FLATCAR_BOARD");
    board.map_or_else(|| version.to_owned(), |board| format!("{version} ({board})"))
}

/// Takes out what is read, as far as it is there, or finds it in the store.
fn unpacked(squashfs: &Utf8Path, digest: &str, store: &Store) -> Result<Utf8PathBuf, ImageError> {
    let mut inputs = Inputs::default();
    inputs.add("format", FORMAT);
    inputs.add("base", digest);
    Ok(match store.entry("base", &inputs.finish())? {
        Entry::Ready(entry) => entry,
        Entry::Vacant(vacancy) => {
            FileSystem::Squashfs.collect(squashfs, &WANTED, vacancy.directory())?;
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
        assert!(command.status().expect("mksquashfs runs").success());
    }

    #[test]
    fn a_base_beside_is_read_and_must_be_of_the_same_release() {
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
        assert!(error.to_string().ends_with("is the base of 4593.2.1, and the image is 4593.2.0"), "{error}");
    }
}
