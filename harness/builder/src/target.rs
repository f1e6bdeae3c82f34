// SPDX-License-Identifier: Apache-2.0
use std::time::SystemTime;

use camino::Utf8PathBuf;
use loadgauge_images::{Architecture, Base, Image, OsRelease};

use super::lint::BaseLinks;

/// What an extension is built for.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// `/usr/lib/os-release` of the image
    pub os_release: &'a OsRelease,
    /// what the image runs on
    pub architecture: Architecture,
    /// what the image has already, where that is known; recipes with packages need it
    pub base: Option<&'a Base>,
    /// where the image's Gentoo packages are known from: a directory that holds var/db/pkg, or a
    /// squashfs that does; recipes with Gentoo packages need it
    pub portage: Option<Utf8PathBuf>,
    /// where the libraries of the image are known from: a directory that is its root, or the squashfs
    /// of one
    pub root: Option<Utf8PathBuf>,
    /// what lies in the image, where that is known
    pub links: BaseLinks,
}

/// What Flatcar calls the root that its extensions are built against; it lies beside the image.
const SQUASHFS: &str = "flatcar_production_image_sysext.squashfs";

/// What Flatcar calls the list of all files of an image; it is published beside it.
const CONTENTS: &str = "flatcar_production_image_contents.txt";

impl<'a> Target<'a> {
    /// A target for an image.
    pub fn of_image(image: &'a Image) -> Self {
        let facts = &image.facts;
        let (os_release, architecture) = (&facts.os_release, facts.architecture);
        let squashfs = image.directory().join(SQUASHFS);
        let portage = squashfs.is_file().then_some(squashfs);
        let contents = std::fs::read_to_string(image.directory().join(CONTENTS)).unwrap_or_default();
        let links = BaseLinks::parse(&contents);
        let root = portage.clone();
        Self { os_release, architecture, base: image.base.as_ref(), portage, root, links }
    }

    /// A target for a base that no image is made of yet.
    pub fn of_base(base: &'a Base) -> Self {
        let (os_release, architecture) = (&base.os_release, base.architecture);
        let root = base.dpkg_status.with_file_name(SQUASHFS);
        let root = Some(root).filter(|path| path.is_file());
        Self { os_release, architecture, base: Some(base), portage: None, root, links: BaseLinks::new() }
    }

    /// Changes whenever the image's root does; empty where there is none.
    pub(super) fn root_key(&self) -> String {
        let Some(root) = &self.root else { return String::new() };
        if let Some(base) = self.base {
            return base.digest.clone();
        }
        // It is too large to be read whole for its digest each time.
        let metadata = std::fs::metadata(root).ok();
        let size = metadata.as_ref().map_or(0, std::fs::Metadata::len);
        let changed = metadata.and_then(|metadata| metadata.modified().ok());
        let changed = changed.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        format!("{root} {size} {}", changed.unwrap_or_default().as_nanos())
    }
}
