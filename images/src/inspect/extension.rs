// SPDX-License-Identifier: Apache-2.0
use std::fs;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::error::{InspectError, io};
use super::file_system::{FileSystem, Tree, Wanted};
use super::table::Table;
use crate::OsRelease;

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
    /// its file's name without `.raw`
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
    /// Looks into an extension's file without mounting it.
    ///
    /// # Errors
    /// It is no image of an extension, or has no extension-release of its name.
    pub(super) fn read(
        name: &str,
        path: String,
        file: &Utf8Path,
        scratch: &Utf8Path,
    ) -> Result<Self, InspectError> {
        let size = fs::metadata(file).map_err(io("read", file))?.len();
        let content = scratch.join(format!("{name}.content"));
        let (image, signed) = match FileSystem::identify(file)? {
            Some(_) => (file, false),
            None => (content.as_path(), extract(file, &content)?),
        };
        let damaged = |cause: &str| InspectError::Damaged {
            path: Utf8Path::new(&path).to_owned(),
            place: "extension".to_owned(),
            cause: cause.to_owned(),
        };
        let file_system =
            FileSystem::identify(image)?.ok_or_else(|| damaged("it holds no file system that is known"))?;
        let tree = scratch.join(format!("{name}.tree"));
        file_system.collect(image, &[RELEASES], &tree)?;
        let text = Tree::at(&tree)?.text(&format!("{}/{}{name}", RELEASES.directory, RELEASES.prefix))?;
        let text = text.ok_or_else(|| damaged("it has no extension-release of its name"))?;
        let release =
            OsRelease::parse(&text).map_err(|error| damaged(&format!("extension-release, {error}")))?;
        Ok(Self { name: name.to_owned(), path, file_system, signed, size, release })
    }

    /// The version of the one package that it was made from, where it says so.
    pub fn version(&self) -> Option<&str> {
        self.release.get("SYSEXT_VERSION_ID")
    }
}

/// Takes the file system out of a disk image with partitions, and says whether it is signed.
fn extract(file: &Utf8Path, target: &Utf8Path) -> Result<bool, InspectError> {
    let disk = Disk::open(file)?;
    let table = Table::read(&disk)?;
    let named = |suffix: &str| {
        ["x86-64", "arm64"]
            .iter()
            .find_map(|architecture| table.of_type(&format!("root-{architecture}{suffix}")))
    };
    let root = named("").ok_or_else(|| InspectError::Damaged {
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
            let read = |name: &str| VendorExtension::read(name, format!("/usr/{name}.raw"), &file, directory);
            let extension = read("probe").expect(line);
            assert_eq!((extension.file_system, extension.signed), (kind, signed));
            assert_eq!(extension.version(), Some("28.0.4-r1"));
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
