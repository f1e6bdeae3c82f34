// SPDX-License-Identifier: Apache-2.0
use crate::Architecture;
use crate::release::Release;

/// Where packages come from unless somebody says otherwise.
const MIRROR: &str = "http://deb.debian.org/debian";

/// Which stand-in to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// base URL of the Debian archive
    pub mirror: String,
    /// Debian suite; it decides which systemd the stand-in has
    pub suite: String,
    /// the release that it stands in for
    pub release: Release,
    /// what it runs on
    pub architecture: Architecture,
}

impl Default for Options {
    /// Debian 13 in place of Flatcar 4593.2.0, both with systemd 257. The mirror can be set with
    /// the environment variable `LOADGAUGE_DEBIAN_MIRROR`.
    fn default() -> Self {
        let mirror = std::env::var("LOADGAUGE_DEBIAN_MIRROR").ok().filter(|mirror| !mirror.is_empty());
        Self {
            mirror: mirror.unwrap_or_else(|| MIRROR.to_owned()),
            suite: "trixie".to_owned(),
            release: Release { major: 4593, minor: 2, patch: 0 },
            architecture: Architecture::Amd64,
        }
    }
}
