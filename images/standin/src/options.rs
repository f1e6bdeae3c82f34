// SPDX-License-Identifier: Apache-2.0
use super::blueprint::{BLUEPRINTS, Blueprint};
use super::error::StandinError;
use loadgauge_host::environment;
use loadgauge_images::Architecture;
use loadgauge_images::release::Release;

/// The default mirror of Debian's archive.
const MIRROR: &str = "http://deb.debian.org/debian";

/// The choice of a stand-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// base URL of the Debian archive
    pub mirror: String,
    /// the release and the packages that imitate it
    pub blueprint: Blueprint,
    /// the architecture of the stand-in
    pub architecture: Architecture,
}

impl Default for Options {
    /// Returns the stand-in for Flatcar 4593.2.0, made of Debian 13; both have systemd 257.
    ///
    /// [`environment::DEBIAN_MIRROR`] sets the mirror.
    fn default() -> Self {
        let mirror = environment::value(environment::DEBIAN_MIRROR);
        Self {
            mirror: mirror.unwrap_or_else(|| MIRROR.to_owned()),
            blueprint: BLUEPRINTS[1],
            architecture: Architecture::Amd64,
        }
    }
}

impl Options {
    /// Returns the default options for a release.
    ///
    /// # Errors
    /// The release has no stand-in; `StandinError::hint` names the releases that have one.
    pub fn for_release(release: Release) -> Result<Self, StandinError> {
        let blueprint = Blueprint::of(release).ok_or(StandinError::NoBlueprint(release))?;
        Ok(Self { blueprint, ..Self::default() })
    }
}
