// SPDX-License-Identifier: Apache-2.0
use super::blueprint::{BLUEPRINTS, Blueprint};
use super::error::StandinError;
use loadgauge_host::environment;
use loadgauge_images::Architecture;
use loadgauge_images::release::Release;

/// Where packages come from unless somebody says otherwise.
const MIRROR: &str = "http://deb.debian.org/debian";

/// Which stand-in to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// base URL of the Debian archive
    pub mirror: String,
    /// the release that it stands in for, and what it is made from
    pub blueprint: Blueprint,
    /// what it runs on
    pub architecture: Architecture,
}

impl Default for Options {
    /// Debian 13 in place of Flatcar 4593.2.0, both with systemd 257. The mirror can be set with
    /// [`environment::DEBIAN_MIRROR`].
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
    /// The default options for a release.
    ///
    /// # Errors
    /// There is no stand-in for it; `StandinError::hint` names those that there are.
    pub fn for_release(release: Release) -> Result<Self, StandinError> {
        let blueprint = Blueprint::of(release).ok_or(StandinError::NoBlueprint(release))?;
        Ok(Self { blueprint, ..Self::default() })
    }
}
