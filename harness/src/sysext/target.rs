// SPDX-License-Identifier: Apache-2.0
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
    /// links under /usr of the image, where they are known
    pub links: BaseLinks,
}

impl<'a> Target<'a> {
    /// A target for an image.
    pub fn of_image(image: &'a Image) -> Self {
        let facts = &image.facts;
        let (os_release, architecture) = (&facts.os_release, facts.architecture);
        Self { os_release, architecture, base: image.base.as_ref(), links: BaseLinks::new() }
    }

    /// A target for a base that no image is made of yet.
    pub fn of_base(base: &'a Base) -> Self {
        let (os_release, architecture) = (&base.os_release, base.architecture);
        Self { os_release, architecture, base: Some(base), links: BaseLinks::new() }
    }
}
