// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::Utf8Path;
use loadgauge_host::{error, fs};
use serde::{Deserialize, Serialize};

use crate::OsRelease;
use crate::extension_image::{ExtensionImage, ExtensionImageError};
use crate::file_system::FileSystem;
use crate::image::ImageError;

/// An extension that ships with an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendorExtension {
    /// the name under which it is merged: the name of its file without `.raw` and without the version
    /// that may follow
    pub name: String,
    /// its path on the booted image
    pub path: String,
    /// the kind of its file system
    pub file_system: FileSystem,
    /// whether its content is verified by dm-verity, and the root hash signed
    pub signed: bool,
    /// the size of its file in bytes
    pub size: u64,
    /// its extension-release
    pub release: OsRelease,
}

impl VendorExtension {
    /// Inspects the file of an extension without mounting it; `path` is its path on the booted image.
    ///
    /// # Errors
    /// It is not an image of an extension, or has no extension-release of its name.
    pub(super) fn read(path: String, file: &Utf8Path, scratch: &Utf8Path) -> Result<Self, ImageError> {
        let stem = Utf8Path::new(&path).file_stem().unwrap_or_default();
        let size = fs::metadata(file)?.len();
        // Several directories may contain files of one name.
        let unique = path.trim_start_matches('/').replace('/', "+");
        let damaged = |cause: &str| ImageError::Damaged {
            path: Utf8Path::new(&path).to_owned(),
            place: "extension".to_owned(),
            cause: cause.to_owned(),
        };
        let fail = |failed: ExtensionImageError| match failed {
            ExtensionImageError::FileSystem(source) => {
                ImageError::FileSystem { what: format!("`{}`", path.escape_debug()), source }
            }
            ExtensionImageError::File(error) => error.into(),
            other => damaged(&error::on_one_line(&other)),
        };
        let image = ExtensionImage::open(file, &scratch.join(format!("{unique}.content"))).map_err(fail)?;
        let releases = image.releases(&scratch.join(format!("{unique}.tree")));
        let releases = releases.map_err(|source| fail(source.into()))?;
        let name = name(stem, &releases).ok_or_else(|| damaged("it has no extension-release of its name"))?;
        let release = OsRelease::parse(&releases[name])
            .map_err(|error| damaged(&format!("extension-release, {error}")))?;
        let (file_system, signed) = (image.file_system, image.is_signed);
        Ok(Self { name: name.to_owned(), path, file_system, signed, size, release })
    }

    /// The version of the one package that it was made from, if its extension-release has it.
    pub fn version(&self) -> Option<&str> {
        self.release.get("SYSEXT_VERSION_ID")
    }
}

/// The name under which an extension is merged, from the name of its file without `.raw`: the one that it
/// has an extension-release of.
///
/// The extension of a platform is stored in its partition as `NAME-VERSION.raw`, or `NAME-initial.raw` in
/// the first image that has it, and a link gives it its plain name when it is merged (Flatcar's
/// `initrd-setup-root-after-ignition`).
fn name<'a>(stem: &'a str, releases: &BTreeMap<String, String>) -> Option<&'a str> {
    let cuts = stem.match_indices('-').map(|(at, _)| &stem[..at]);
    std::iter::once(stem).chain(cuts.rev()).find(|name| {
        let rest = stem[name.len()..].trim_start_matches('-');
        let is_version = rest.starts_with(|first: char| first.is_ascii_digit());
        (rest.is_empty() || rest == "initial" || is_version) && releases.contains_key(*name)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::file_system::FileKind;

    /// Packs a tree whose extension-release is of the name `probe`.
    fn pack(directory: &Utf8Path, line: &str) -> camino::Utf8PathBuf {
        let tree = directory.join("packed");
        let place = tree.join("usr/lib/extension-release.d");
        fs::create_dir_all(&place).expect("made");
        let link = place.join("extension-release.probe");
        let _ = std::os::unix::fs::symlink("../extension-release[1]", link);
        fs::write(place.join("../extension-release[1]"), "ID=flatcar\nSYSEXT_VERSION_ID='28.0.4-r1'\n")
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
            assert!(read("probe-more").is_err(), "`more` is not a version");
            let image = ExtensionImage::open(&file, &directory.join("copy")).expect(line);
            let listed = image.list().expect(line);
            let release = listed.iter().find(|file| file.path.ends_with("extension-release.probe"));
            let release = release.expect("listed");
            assert!(
                release.path.starts_with("usr/lib") && image.below.is_empty(),
                "{line}: {:?}",
                release.path
            );
            assert_eq!((release.kind, release.size), (FileKind::Link, 23), "{line}");
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
