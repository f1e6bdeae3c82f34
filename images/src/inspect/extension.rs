// SPDX-License-Identifier: Apache-2.0
use std::fs;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::file_system::{FileSystem, Tree, Wanted};
use super::table::Table;
use crate::OsRelease;
use crate::image::{ImageError, io};

/// Where an extension says what it is for; the name of the extension follows.
const RELEASES: Wanted = Wanted {
    directory: "usr/lib/extension-release.d",
    prefix: "extension-release.",
    suffix: "",
    is_open: true,
};

/// An extension that ships with an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendorExtension {
    /// what it is merged as: its file's name without `.raw` and without the version that may follow
    pub name: String,
    /// where it lies on the booted image
    pub path: String,
    /// how it is packed
    pub file_system: FileSystem,
    /// whether its content is verified by dm-verity, and the root hash signed
    pub signed: bool,
    /// the size of its file in bytes
    pub size: u64,
    /// its extension-release
    pub release: OsRelease,
}

impl VendorExtension {
    /// Looks into an extension's file without mounting it; `path` is where it lies on the booted image.
    ///
    /// # Errors
    /// It is no image of an extension, or has no extension-release of its name.
    pub(super) fn read(path: String, file: &Utf8Path, scratch: &Utf8Path) -> Result<Self, ImageError> {
        let stem = Utf8Path::new(&path).file_stem().unwrap_or_default();
        let size = fs::metadata(file).map_err(io("read", file))?.len();
        // Files of one name may lie in more than one place.
        let unique = path.trim_start_matches('/').replace('/', "+");
        let content = scratch.join(format!("{unique}.content"));
        let damaged = |cause: &str| ImageError::Damaged {
            path: Utf8Path::new(&path).to_owned(),
            place: "extension".to_owned(),
            cause: cause.to_owned(),
        };
        let (image, signed) = match FileSystem::identify(file)? {
            Some(_) => (file, false),
            None => {
                (content.as_path(), extract(file, &content).map_err(|error| damaged(&error.to_string()))?)
            }
        };
        let file_system =
            FileSystem::identify(image)?.ok_or_else(|| damaged("it holds no file system that is known"))?;
        let place = scratch.join(format!("{unique}.tree"));
        file_system.collect(image, &[RELEASES], &place)?;
        let tree = Tree::at(&place)?;
        let name = name(stem, &tree).ok_or_else(|| damaged("it has no extension-release of its name"))?;
        let text = tree.text(&format!("{}/{}{name}", RELEASES.directory, RELEASES.prefix))?;
        let release = OsRelease::parse(&text.unwrap_or_default())
            .map_err(|error| damaged(&format!("extension-release, {error}")))?;
        Ok(Self { name: name.to_owned(), path, file_system, signed, size, release })
    }

    /// The version of the one package that it was made from, where it says so.
    pub fn version(&self) -> Option<&str> {
        self.release.get("SYSEXT_VERSION_ID")
    }
}

/// What an extension is merged as, of a file's name without `.raw`: that which it has an
/// extension-release of.
///
/// The extension of a platform lies on its partition as `NAME-VERSION.raw`, or `NAME-initial.raw` in
/// the first image that has it, and a link gives it its plain name when it is merged (Flatcar's
/// `initrd-setup-root-after-ignition`).
fn name<'a>(stem: &'a str, tree: &Tree) -> Option<&'a str> {
    let releases = tree.names(RELEASES);
    let is_there = |name: &str| releases.iter().any(|release| release[RELEASES.prefix.len()..] == *name);
    let cuts = stem.match_indices('-').map(|(at, _)| &stem[..at]);
    std::iter::once(stem).chain(cuts.rev()).find(|name| {
        let rest = stem[name.len()..].trim_start_matches('-');
        let is_version = rest.starts_with(|first: char| first.is_ascii_digit());
        (rest.is_empty() || rest == "initial" || is_version) && is_there(name)
    })
}

/// Takes the file system out of a disk image with partitions, and says whether it is signed.
fn extract(file: &Utf8Path, target: &Utf8Path) -> Result<bool, ImageError> {
    let disk = Disk::open(file)?;
    let table = Table::read(&disk)?;
    let named = |suffix: &str| {
        ["x86-64", "arm64"]
            .iter()
            .find_map(|architecture| table.of_type(&format!("root-{architecture}{suffix}")))
    };
    let root = named("").ok_or_else(|| ImageError::Damaged {
        path: file.to_owned(),
        place: "partition table".to_owned(),
        cause: "no partition is of the type of a root file system".to_owned(),
    })?;
    disk.extract(root.offset, root.size, target)?;
    Ok(named("-verity-sig").is_some())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Packs a tree whose extension-release is of the name `probe`.
    fn pack(directory: &Utf8Path, line: &str) -> camino::Utf8PathBuf {
        let tree = directory.join("packed");
        let place = tree.join(RELEASES.directory);
        fs::create_dir_all(&place).expect("made");
        fs::write(place.join("extension-release.probe"), "ID=flatcar\nSYSEXT_VERSION_ID='28.0.4-r1'\n")
            .expect("written");
        let file = directory.join("probe.raw");
        let line = line.replace("FILE", file.as_str()).replace("TREE", tree.as_str());
        let output = Command::new("sh").args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {line}")]).output();
        let output = output.expect("sh runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        file
    }

    #[test]
    fn extensions_are_read_in_every_form_they_ship_in() {
        for (line, kind, signed) in [
            ("mksquashfs TREE FILE -quiet -no-progress -comp zstd >/dev/null", FileSystem::Squashfs, false),
            ("mkfs.erofs --quiet FILE TREE", FileSystem::Erofs, false),
            (
                "mkfs.erofs --quiet FILE.fs TREE && truncate -s 8M FILE && sfdisk -q FILE <<END
label: gpt
size=8192, type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709
size=2048, type=2c7357ed-ebd2-46d9-aec1-23d437ec2bf5
type=41092b05-9fc8-4523-994f-2def0408b176
END
dd if=FILE.fs of=FILE bs=512 seek=2048 conv=notrunc 2>/dev/null",
                FileSystem::Erofs,
                true,
            ),
        ] {
            let scratch = tempfile::tempdir().expect("a directory");
            let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
            let file = pack(directory, line);
            let read = |name: &str| VendorExtension::read(format!("/usr/{name}.raw"), &file, directory);
            for name in ["probe", "probe-initial", "probe-4593.2.0", "probe-4593.2.0+nightly-2026"] {
                let extension = read(name).expect(line);
                assert_eq!((extension.file_system, extension.signed), (kind, signed));
                assert_eq!((extension.name.as_str(), extension.version()), ("probe", Some("28.0.4-r1")));
                assert_eq!(extension.path, format!("/usr/{name}.raw"));
            }
            assert!(read("probe-more").is_err(), "a part of a name is no version");
            let error = read("other").expect_err("another name").to_string();
            assert!(
                error.contains("`/usr/other.raw`") && error.contains("no extension-release of its name"),
                "{error}"
            );
            fs::write(&file, vec![1; 9000]).expect("written");
            assert!(read("probe").is_err());
        }
    }
}
