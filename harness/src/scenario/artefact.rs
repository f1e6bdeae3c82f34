// SPDX-License-Identifier: Apache-2.0
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};
use loadgauge_ignition::delivery::{HowDelivered, Payload, PayloadKind};
use loadgauge_images::OsRelease;
use serde::Serialize;

use super::Source;
use loadgauge_builder::{Extension, Format, ImageError, releases};

/// An extension as it will come into the guest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Artefact {
    /// what systemd-sysext will call it
    pub name: String,
    /// the recipe or the image that the scenario names
    pub source: Source,
    /// how it was packed; not known of an image that was built before
    pub format: Option<Format>,
    /// where it lies on the host
    pub path: Utf8PathBuf,
    /// bytes
    pub size: u64,
    /// SHA-512, in hex
    pub sha512: String,
    /// its extension-release file; not known of an image that has none of its name
    pub release: Option<OsRelease>,
    /// how it comes into the guest
    pub delivered: HowDelivered,
}

/// A built extension as Ignition delivers it.
fn payload(extension: &Extension) -> Payload {
    let path = extension.path.clone();
    let kind = match extension.format {
        Format::Directory => PayloadKind::Directory { path },
        _ => PayloadKind::Image { path, size: extension.size, sha512: extension.sha512.clone() },
    };
    Payload { name: extension.name.clone(), kind }
}

/// An extension before it is settled how it is delivered.
#[derive(Debug, Clone)]
pub(super) struct Goods {
    pub(super) payload: Payload,
    format: Option<Format>,
    pub(super) path: Utf8PathBuf,
    size: u64,
    sha512: String,
    release: Option<OsRelease>,
}

impl Goods {
    /// What the builder made.
    pub(super) fn built(extension: Extension) -> Self {
        Self {
            payload: payload(&extension),
            format: Some(extension.format),
            path: extension.path,
            size: extension.size,
            sha512: extension.sha512,
            release: Some(extension.release),
        }
    }

    /// An image that was built before, taken as it is: whether it is a good one is for the guest
    /// to say. What can be told before is told: that systemd-sysext will pass over it for its name.
    /// `digest` computes its SHA-512.
    pub(super) fn image(
        path: &Utf8Path,
        name: Option<&str>,
        digest: &dyn Fn(&Utf8Path) -> io::Result<String>,
    ) -> Result<Self, ImageError> {
        let size = fs::metadata(path)?.len();
        let sha512 = digest(path).map_err(FileError::at::<FileError>("read", path))?;
        let own = path.file_name().unwrap_or_default();
        let name = name.unwrap_or(own.strip_suffix(".raw").unwrap_or(own)).to_owned();
        let kind = PayloadKind::Image { path: path.to_owned(), size, sha512: sha512.clone() };
        let release = release_of(path, &name)?;
        let payload = Payload { name, kind };
        Ok(Self { payload, format: None, path: path.to_owned(), size, sha512, release })
    }

    /// The name and the file of what is brought into a guest that runs already.
    pub(super) fn image_file(self) -> (String, Utf8PathBuf) {
        (self.payload.name, self.path)
    }

    /// With the way that was taken.
    pub(super) fn delivered(self, source: Source, delivered: HowDelivered) -> Artefact {
        Artefact {
            name: self.payload.name,
            source,
            format: self.format,
            path: self.path,
            size: self.size,
            sha512: self.sha512,
            release: self.release,
            delivered,
        }
    }
}

/// What an image says in the extension-release file of its name. See extension-release in os-release(5):
/// one of another name counts only where an extended attribute says that it may.
///
/// # Errors
/// The image was made to write outside of the directory that it is extracted to.
fn release_of(path: &Utf8Path, name: &str) -> Result<Option<OsRelease>, ImageError> {
    let image = path.file_name().unwrap_or_default();
    let mut found = match releases(path) {
        Ok(found) => found,
        Err(error) if error.is_hostile() => return Err(error),
        Err(error) => {
            tracing::warn!(image, %error, "it cannot be looked into before the guest does");
            return Ok(None);
        }
    };
    let own = found.remove(name);
    if own.is_none() {
        let others: Vec<String> = found.keys().map(|other| format!("`extension-release.{other}`")).collect();
        let has = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        tracing::warn!(
            image,
            "systemd-sysext will pass over it: as `{name}` it needs `extension-release.{name}`, and it has {has}"
        );
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    #[test]
    fn an_image_says_for_whom_it_is_under_its_own_name_alone() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let place = directory.join("tree/usr/lib/extension-release.d");
        std::fs::create_dir_all(&place).expect("made");
        std::fs::write(place.join("extension-release.tool"), "ID=flatcar\nSYSEXT_LEVEL=1.0\n")
            .expect("written");
        let image = directory.join("tool-1.2.raw");
        let mut command = Tool::find("mksquashfs").expect("on the host").command();
        command.arg(directory.join("tree")).arg(&image).args(["-quiet", "-no-progress"]);
        command.run().expect("packed");
        let digest = |_: &Utf8Path| Ok("00".to_owned());
        let goods = |name| Goods::image(&image, name, &digest).expect("read");
        let named = goods(Some("tool"));
        assert_eq!(named.release.as_ref().and_then(|release| release.get("ID")), Some("flatcar"));
        assert_eq!(goods(None).release, None, "as `tool-1.2` it has none");
        std::fs::write(&image, "no image").expect("written");
        assert_eq!(goods(Some("tool")).release, None);
    }
}
