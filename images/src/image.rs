// SPDX-License-Identifier: Apache-2.0
use std::fs::{self, File};
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::standin::Manifest;
use crate::{Architecture, Base, OsRelease, Release, digest};

/// A bootable Flatcar disk image and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// the disk, read only to everybody
    pub disk: Utf8PathBuf,
    /// how the disk is stored
    pub format: DiskFormat,
    /// SHA-256 of the disk file, in hex
    pub digest: String,
    /// what the harness may rely on
    pub facts: Facts,
    /// what extensions are built against, where a package database of the image is at hand
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
}

/// How a disk image is stored, in the words of `qemu-img`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// QEMU's own format
    Qcow2,
    /// the bare bytes of the disk
    Raw,
}

impl DiskFormat {
    /// The name that QEMU's `format=` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// What delivers Docker and containerd in a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// up to 3760: the add-on manager Torcx
    Torcx,
    /// 3794 to 4593: extensions that ship with the image, merged by the booted system
    Sysext,
    /// from 4628: the same, merged in the initrd
    Initrd,
}

impl Era {
    /// The era of a release by its major version.
    pub fn of_major(major: u32) -> Self {
        match major {
            0..=3793 => Self::Torcx,
            3794..=4627 => Self::Sysext,
            _ => Self::Initrd,
        }
    }
}

impl std::fmt::Display for Era {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Torcx => "torcx",
            Self::Sysext => "sysext",
            Self::Initrd => "initrd",
        })
    }
}

/// What the harness asks of an image instead of asking which image it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `/usr/lib/os-release`
    pub os_release: OsRelease,
    /// what it runs on
    pub architecture: Architecture,
    /// what delivers Docker and containerd
    pub era: Era,
    /// the major version of systemd
    pub systemd: u32,
    /// names of the extensions that the image itself merges, without `.raw`
    pub vendor_extensions: Vec<String>,
}

/// A path does not lead to an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// a description is not what this version of the harness writes
    #[error("`{path}` does not describe an image")]
    Format {
        /// the file
        path: Utf8PathBuf,
        /// where and why
        source: serde_json::Error,
    },
    /// a directory without a description
    #[error("`{0}` holds no image: neither `manifest.json` nor `image.json` is there")]
    NoManifest(Utf8PathBuf),
    /// a disk that nothing is known of
    #[error("nothing says which release `{0}` is: neither `manifest.json` nor `version.txt` lies beside it")]
    NoFacts(Utf8PathBuf),
    /// version.txt names no release that is known
    #[error("`{path}` says `FLATCAR_VERSION={version}`, which is no release that facts are known of")]
    Version {
        /// the file
        path: Utf8PathBuf,
        /// what it says
        version: String,
    },
    /// a disk that was not unpacked
    #[error("`{0}` is compressed")]
    Compressed(Utf8PathBuf),
}

impl ImageError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoManifest(_) | Self::Format { .. } => {
                Some("make an image with `loadgauge image build`, or name a Flatcar disk".to_owned())
            }
            Self::NoFacts(_) | Self::Version { .. } => {
                Some("put the release's `version.txt` beside the disk".to_owned())
            }
            Self::Compressed(path) => Some(format!("unpack it: bunzip2 {path}")),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("make an image with `loadgauge image build`".to_owned())
            }
            Self::Io { .. } => None,
        }
    }
}

fn failed(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> ImageError + use<> {
    let path = path.to_owned();
    move |source| ImageError::Io { action, path, source }
}

impl Image {
    /// Reads an image back: a directory with `manifest.json` or `image.json`; a disk with one of
    /// them beside it; or a disk of a Flatcar release with its `version.txt` beside it.
    ///
    /// # Errors
    /// There is no such thing, or nothing says what it is.
    pub fn open(path: &Utf8Path) -> Result<Self, ImageError> {
        let path = camino::absolute_utf8(path).map_err(failed("find", path))?;
        let metadata = fs::metadata(&path).map_err(failed("open", &path))?;
        if metadata.is_dir() {
            return described(&path)?.ok_or(ImageError::NoManifest(path));
        }
        let beside = path.parent().unwrap_or(Utf8Path::new("/"));
        match described(beside)? {
            Some(image) if image.disk == path => Ok(image),
            _ => released(&path, &beside.join("version.txt")),
        }
    }
}

/// The image that a directory's manifest or description tells of, with absolute paths.
fn described(directory: &Utf8Path) -> Result<Option<Image>, ImageError> {
    let read = |name: &str| {
        let path = directory.join(name);
        match fs::read(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    };
    let (path, parsed) = if let Some((path, text)) = read("manifest.json")? {
        (path, serde_json::from_slice::<Manifest>(&text).map(|manifest| manifest.image))
    } else if let Some((path, text)) = read("image.json")? {
        (path, serde_json::from_slice(&text))
    } else {
        return Ok(None);
    };
    let mut image: Image = parsed.map_err(|source| ImageError::Format { path, source })?;
    image.disk = directory.join(image.disk);
    if let Some(base) = &mut image.base {
        base.dpkg_status = directory.join(&base.dpkg_status);
    }
    fs::metadata(&image.disk).map_err(failed("open", &image.disk))?;
    Ok(Some(image))
}

/// A disk as a release server has it, with the facts of its release.
///
/// `version.txt` has assignments like os-release; `FLATCAR_VERSION` is read from it, the rest comes
/// from the table of releases.
fn released(disk: &Utf8Path, version_file: &Utf8Path) -> Result<Image, ImageError> {
    let text = match fs::read_to_string(version_file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ImageError::NoFacts(disk.to_owned()));
        }
        Err(error) => return Err(failed("read", version_file)(error)),
    };
    let fields =
        OsRelease::parse(&text).map_err(|error| failed("read", version_file)(io::Error::other(error)))?;
    let version = fields.get("FLATCAR_VERSION").or(fields.get("FLATCAR_VERSION_ID")).unwrap_or_default();
    // Release servers keep the two boards apart by directory only.
    let architecture =
        if disk.as_str().contains("arm64") { Architecture::Arm64 } else { Architecture::Amd64 };
    let facts = release_facts(version, architecture)
        .ok_or_else(|| ImageError::Version { path: version_file.to_owned(), version: version.to_owned() })?;
    Ok(Image {
        format: disk_format(disk)?,
        digest: digest::of_file(disk).map_err(failed("read", disk))?,
        disk: disk.to_owned(),
        facts,
        // A released image carries no package metadata.
        base: None,
    })
}

/// What is known of a release without looking into its disk.
fn release_facts(version: &str, architecture: Architecture) -> Option<Facts> {
    let release: Release = version.parse().ok()?;
    let mut os_release = OsRelease::default();
    os_release.set("NAME", "Flatcar Container Linux by Kinvolk");
    os_release.set("ID", "flatcar");
    os_release.set("ID_LIKE", "coreos");
    os_release.set("VERSION", version);
    os_release.set("VERSION_ID", release.to_string());
    os_release.set("FLATCAR_BOARD", format!("{architecture}-usr"));
    if let Some(level) = release.sysext_level() {
        os_release.set("SYSEXT_LEVEL", level);
    }
    let vendor_extensions = match release.era() {
        Era::Torcx => Vec::new(),
        Era::Sysext | Era::Initrd => vec!["containerd-flatcar".to_owned(), "docker-flatcar".to_owned()],
    };
    let (era, systemd) = (release.era(), release.systemd()?);
    Some(Facts { os_release, architecture, era, systemd, vendor_extensions })
}

/// How a disk is stored, by its first bytes.
fn disk_format(disk: &Utf8Path) -> Result<DiskFormat, ImageError> {
    let mut magic = Vec::new();
    let file = File::open(disk).map_err(failed("open", disk))?;
    file.take(4).read_to_end(&mut magic).map_err(failed("read", disk))?;
    match magic.as_slice() {
        b"QFI\xfb" => Ok(DiskFormat::Qcow2),
        [b'B', b'Z', b'h', _] | [0x1f, 0x8b, ..] => Err(ImageError::Compressed(disk.to_owned())),
        _ => Ok(DiskFormat::Raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::PackageRecord;

    fn directory() -> (tempfile::TempDir, Utf8PathBuf) {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
        (scratch, path)
    }

    fn facts() -> Facts {
        release_facts("4593.2.0", Architecture::Amd64).expect("a known release")
    }

    #[test]
    fn a_manifest_is_read_back_with_its_disk_beside_it() {
        let (_scratch, path) = directory();
        let base = Base {
            digest: "ef".to_owned(),
            os_release: facts().os_release,
            architecture: Architecture::Amd64,
            dpkg_status: "dpkg-status".into(),
            archive: crate::base::Archive {
                mirror: "http://archive.example".to_owned(),
                suite: "trixie".to_owned(),
                components: vec!["main".to_owned()],
                keyring: "/keyring.gpg".into(),
            },
        };
        let image = Image {
            disk: "disk.qcow2".into(),
            format: DiskFormat::Qcow2,
            digest: "ab".to_owned(),
            facts: facts(),
            base: Some(base.clone()),
        };
        let package = PackageRecord { version: "1.7-1".to_owned(), sha256: "01".to_owned() };
        let manifest = Manifest {
            format: 1,
            inputs: "cd".to_owned(),
            image: image.clone(),
            packages: [("jq:amd64".to_owned(), package)].into(),
            extensions: std::collections::BTreeMap::new(),
            files: std::collections::BTreeMap::new(),
        };
        let text = serde_json::to_string(&manifest).expect("serialised");
        assert_eq!(serde_json::from_str::<Manifest>(&text).expect("read"), manifest);
        fs::write(path.join("manifest.json"), text).expect("written");
        let error = Image::open(&path).expect_err("the disk is missing");
        assert!(error.to_string().contains("disk.qcow2"), "{error}");
        fs::write(path.join("disk.qcow2"), "QFI").expect("written");
        let base = Base { dpkg_status: path.join("dpkg-status"), ..base };
        let expected = Image { disk: path.join("disk.qcow2"), base: Some(base), ..image };
        assert_eq!(Image::open(&path).expect("opened"), expected);
        assert_eq!(Image::open(&path.join("disk.qcow2")).expect("opened by its disk"), expected);
    }

    #[test]
    fn a_release_disk_gets_the_facts_of_its_release() {
        let (_scratch, path) = directory();
        let disk = path.join("flatcar_production_qemu_image.img");
        fs::write(&disk, b"QFI\xfb and so on").expect("written");
        let error = Image::open(&disk).expect_err("no version.txt");
        assert!(matches!(error, ImageError::NoFacts(_)) && error.hint().is_some(), "{error}");
        fs::write(path.join("version.txt"), "FLATCAR_VERSION=3654.0.0\nFLATCAR_BUILD_ID=\"\"\n")
            .expect("written");
        let image = Image::open(&disk).expect("opened");
        assert_eq!(
            (image.format, image.facts.systemd, image.facts.era),
            (DiskFormat::Qcow2, 252, Era::Torcx)
        );
        assert_eq!(image.facts.os_release.get("SYSEXT_LEVEL"), Some("1.0"));
        assert!(image.facts.vendor_extensions.is_empty());
        fs::write(path.join("version.txt"), "FLATCAR_VERSION=new\n").expect("written");
        assert!(matches!(Image::open(&disk), Err(ImageError::Version { version, .. }) if version == "new"));
    }

    #[test]
    fn what_is_no_image_is_said_with_a_hint() {
        let (_scratch, path) = directory();
        for (target, expected) in [(path.clone(), "holds no image"), (path.join("absent"), "cannot open")] {
            let error = Image::open(&target).expect_err("not an image");
            assert!(error.to_string().contains(expected) && error.hint().is_some(), "{error}");
        }
        let packed = path.join("image.img.bz2");
        fs::write(&packed, "BZh9").expect("written");
        fs::write(path.join("version.txt"), "FLATCAR_VERSION=4593.2.0\n").expect("written");
        assert!(matches!(Image::open(&packed), Err(ImageError::Compressed(_))));
        fs::write(path.join("image.json"), "{}").expect("written");
        assert!(matches!(Image::open(&path), Err(ImageError::Format { .. })));
    }
}
