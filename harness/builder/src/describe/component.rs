// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// The characters that a package URL does not allow in its parts.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A package in an extension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Component {
    /// its name, with the category where the ecosystem has categories
    pub name: String,
    /// its version, in the ecosystem's format
    pub version: String,
    /// the kind of package
    pub ecosystem: Ecosystem,
    /// `amd64`, `arm64` or `all`
    pub architecture: String,
    /// the suite or repository that it is from
    pub repository: String,
    /// SHA-256 of the package file in hex, where known
    pub sha256: Option<String>,
    /// its licence as an SPDX expression, where known
    pub license: Option<String>,
}

/// A kind of package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ecosystem {
    /// Debian packages
    Debian,
    /// Gentoo binary packages
    Gentoo,
}

impl Component {
    /// The package URL. See <https://github.com/package-url/purl-spec>.
    pub fn purl(&self) -> String {
        let Self { architecture, repository, .. } = self;
        let version = encode(&self.version);
        match self.ecosystem {
            Ecosystem::Debian => {
                let name = encode(&self.name);
                format!("pkg:deb/debian/{name}@{version}?arch={architecture}&distro={}", encode(repository))
            }
            Ecosystem::Gentoo => {
                let name: Vec<String> = self.name.split('/').map(encode).collect();
                let name = name.join("/");
                format!("pkg:ebuild/{name}@{version}?arch={architecture}&repository={}", encode(repository))
            }
        }
    }
}

/// The format of `equery list --format '$cpv::$repo'`, which Flatcar's lists have.
impl fmt::Display for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}::{}", self.name, self.version, self.repository)
    }
}

/// Percent-encodes a part of a package URL.
fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_have_the_form_of_their_ecosystem() {
        let mut component = Component {
            name: "libstdc++6".to_owned(),
            version: "1:14.2.0-19+b1".to_owned(),
            ecosystem: Ecosystem::Debian,
            architecture: "amd64".to_owned(),
            repository: "trixie".to_owned(),
            sha256: None,
            license: None,
        };
        assert_eq!(component.to_string(), "libstdc++6-1:14.2.0-19+b1::trixie");
        assert_eq!(
            component.purl(),
            "pkg:deb/debian/libstdc%2B%2B6@1:14.2.0-19%2Bb1?arch=amd64&distro=trixie"
        );
        component.name = "app-containers/docker".to_owned();
        component.version = "28.0.4-r1".to_owned();
        component.ecosystem = Ecosystem::Gentoo;
        component.repository = "portage-stable".to_owned();
        assert_eq!(component.to_string(), "app-containers/docker-28.0.4-r1::portage-stable");
        assert_eq!(
            component.purl(),
            "pkg:ebuild/app-containers/docker@28.0.4-r1?arch=amd64&repository=portage-stable"
        );
    }
}
