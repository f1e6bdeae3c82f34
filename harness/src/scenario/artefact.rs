// SPDX-License-Identifier: Apache-2.0
use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_ignition::delivery::{HowDelivered, Payload, PayloadKind};
use loadgauge_images::OsRelease;
use serde::Serialize;

use super::Source;
use crate::sysext::{Extension, Format};

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
    /// its extension-release file; not known of an image that was built before
    pub release: Option<OsRelease>,
    /// how it comes into the guest
    pub delivered: HowDelivered,
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
            payload: extension.payload(),
            format: Some(extension.format),
            path: extension.path,
            size: extension.size,
            sha512: extension.sha512,
            release: Some(extension.release),
        }
    }

    /// An image that was built before, taken as it is: whether it is a good one is for the guest
    /// to say. `digest` computes its SHA-512.
    pub(super) fn image(
        path: &Utf8Path,
        name: Option<&str>,
        digest: &dyn Fn(&Utf8Path) -> io::Result<String>,
    ) -> io::Result<Self> {
        let size = fs::metadata(path)?.len();
        let sha512 = digest(path)?;
        let own = path.file_name().unwrap_or_default();
        let name = name.unwrap_or(own.strip_suffix(".raw").unwrap_or(own)).to_owned();
        let kind = PayloadKind::Image { path: path.to_owned(), size, sha512: sha512.clone() };
        let payload = Payload { name, kind };
        Ok(Self { payload, format: None, path: path.to_owned(), size, sha512, release: None })
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
