// SPDX-License-Identifier: Apache-2.0
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::{Extension, Format, ImageError, releases};
use loadgauge_host::{FileError, fs};
use loadgauge_ignition::delivery::{HowDelivered, Payload, PayloadKind};
use loadgauge_images::OsRelease;
use serde::Serialize;

use super::Source;
use super::definition::image_name;

/// An extension of a planned machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedExtension {
    /// name for systemd-sysext
    pub name: String,
    /// the recipe or the image that the scenario names
    pub source: Source,
    /// format of the image; unknown for an image that was not built from a recipe
    pub format: Option<Format>,
    /// path on the host
    pub path: Utf8PathBuf,
    /// size in bytes
    pub size: u64,
    /// SHA-512, in hex
    pub sha512: String,
    /// its extension-release file; absent where the image has none of its name
    pub release: Option<OsRelease>,
    /// how the guest gets the extension
    pub delivered: HowDelivered,
}

/// A built extension in Ignition's terms.
fn payload(extension: &Extension) -> Payload {
    let path = extension.path.clone();
    let kind = match extension.format {
        Format::Directory => PayloadKind::Directory { path },
        _ => PayloadKind::Image { path, size: extension.size, sha512: extension.sha512.clone() },
    };
    Payload { name: extension.name.clone(), kind }
}

/// An extension that was built or found, before its delivery is chosen.
#[derive(Debug, Clone)]
pub(super) struct ResolvedExtension {
    pub(super) payload: Payload,
    format: Option<Format>,
    pub(super) path: Utf8PathBuf,
    size: u64,
    sha512: String,
    release: Option<OsRelease>,
}

impl ResolvedExtension {
    /// An extension that was built from a recipe.
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

    /// An image that the user brings. It is not validated, since the guest is to judge it, but a name for
    /// which systemd-sysext will skip it leads to a warning. `digest` computes the SHA-512.
    pub(super) fn image(
        path: &Utf8Path,
        name: Option<&str>,
        digest: &dyn Fn(&Utf8Path) -> io::Result<String>,
    ) -> Result<Self, ImageError> {
        let size = fs::metadata(path)?.len();
        let sha512 = digest(path).map_err(FileError::at("read", path))?;
        let name = name.unwrap_or(image_name(path)).to_owned();
        let kind = PayloadKind::Image { path: path.to_owned(), size, sha512: sha512.clone() };
        let release = release_of(path, &name)?;
        let payload = Payload { name, kind };
        Ok(Self { payload, format: None, path: path.to_owned(), size, sha512, release })
    }

    /// The name and the file of an image for a swap.
    pub(super) fn image_file(self) -> (String, Utf8PathBuf) {
        (self.payload.name, self.path)
    }

    /// The planned extension, once its delivery was chosen.
    pub(super) fn delivered(self, source: Source, delivered: HowDelivered) -> PlannedExtension {
        PlannedExtension {
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

/// The extension-release file of an image that has the image's name. A file of another name counts only
/// with the extended attribute that os-release(5) describes.
///
/// # Errors
/// The image was made to write outside of the directory that it is extracted to.
fn release_of(path: &Utf8Path, name: &str) -> Result<Option<OsRelease>, ImageError> {
    let image = path.file_name().unwrap_or_default();
    let mut found = match releases(path) {
        Ok(found) => found,
        Err(error) if error.is_hostile() => return Err(error),
        Err(error) => {
            tracing::warn!(image, %error, "cannot read the extension-release of the image");
            return Ok(None);
        }
    };
    let own = found.remove(name);
    if own.is_none() {
        let others: Vec<String> = found.keys().map(|other| format!("`extension-release.{other}`")).collect();
        let has = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        tracing::warn!(
            image,
            "systemd-sysext will skip the image: its name is `{name}`, so it needs `extension-release.{name}`, but it \
             contains {has}"
        );
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    #[test]
    fn only_the_extension_release_of_the_own_name_counts() {
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
        let resolve = |name| ResolvedExtension::image(&image, name, &digest).expect("read");
        let named = resolve(Some("tool"));
        assert_eq!(named.release.as_ref().and_then(|release| release.get("ID")), Some("flatcar"));
        assert_eq!(resolve(None).release, None, "no `extension-release.tool-1.2`");
        std::fs::write(&image, "no image").expect("written");
        assert_eq!(resolve(Some("tool")).release, None);
    }
}
