// SPDX-License-Identifier: Apache-2.0
use std::time::SystemTime;

use camino::Utf8PathBuf;
use loadgauge_host::fs;
use loadgauge_images::{Architecture, Base, Image, OsRelease};

use super::lint::BaseLinks;

/// The image or base that an extension is built for.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// `/usr/lib/os-release` of the image
    pub os_release: &'a OsRelease,
    /// the architecture of the image
    pub architecture: Architecture,
    /// the major version of the image's systemd, where it is known
    pub systemd: Option<u32>,
    /// the Debian packages of the image, where they are known; recipes with Debian packages need them
    pub base: Option<&'a Base>,
    /// a directory or squashfs with `var/db/pkg`, the Gentoo packages of the image; recipes with Gentoo
    /// packages need it
    pub portage: Option<Utf8PathBuf>,
    /// a directory or squashfs with the root of the image, for its libraries
    pub root: Option<Utf8PathBuf>,
    /// the files of the image, where they are known
    pub links: BaseLinks,
}

/// The root that Flatcar builds its extensions against, in the directory of the image.
const SQUASHFS: &str = "flatcar_production_image_sysext.squashfs";

/// Flatcar's list of all files of an image, in the same directory.
const CONTENTS: &str = "flatcar_production_image_contents.txt";

impl<'a> Target<'a> {
    /// A target for an image.
    pub fn of_image(image: &'a Image) -> Self {
        let facts = &image.facts;
        let (os_release, architecture) = (&facts.os_release, facts.architecture);
        let squashfs = image.directory().join(SQUASHFS);
        let portage = squashfs.is_file().then_some(squashfs);
        let contents = fs::read_to_string(image.directory().join(CONTENTS)).unwrap_or_default();
        let links = BaseLinks::parse(&contents);
        let root = portage.clone();
        let (systemd, base) = (Some(facts.systemd), image.base.as_ref());
        Self { os_release, architecture, systemd, base, portage, root, links }
    }

    /// A target for a base that no image was built from yet.
    pub fn of_base(base: &'a Base) -> Self {
        let (os_release, architecture) = (&base.os_release, base.architecture);
        let root = base.dpkg_status.with_file_name(SQUASHFS);
        let root = Some(root).filter(|path| path.is_file());
        let links = BaseLinks::new();
        Self { os_release, architecture, systemd: None, base: Some(base), portage: None, root, links }
    }

    /// A key that changes with the image's root; empty where there is none.
    pub(super) fn root_key(&self) -> String {
        let Some(root) = &self.root else { return String::new() };
        if let Some(base) = self.base {
            return base.digest.clone();
        }
        // The root is too large to compute its digest each time.
        let metadata = fs::metadata(root).ok();
        let size = metadata.as_ref().map_or(0, std::fs::Metadata::len);
        let modified = metadata.and_then(|metadata| metadata.modified().ok());
        let modified = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        format!("{root} {size} {}", modified.unwrap_or_default().as_nanos())
    }
}
