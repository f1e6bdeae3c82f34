// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use crate::Package;
use crate::gentoo::SelectedPackage;

/// A package in an extension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// its name; with its category where the ecosystem has such
    pub name: String,
    /// its version in the order of its ecosystem
    pub version: String,
    /// what kind of package it is
    pub ecosystem: Ecosystem,
    /// `amd64`, `arm64` or `all`
    pub architecture: String,
    /// where it comes from: a suite, or the name of a repository
    pub repository: String,
    /// SHA-256 of the package file in hex, where it is known
    pub sha256: Option<String>,
    /// under which licence, as an SPDX expression, where it is known to be one
    pub license: Option<String>,
}

/// Where packages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ecosystem {
    /// Debian packages
    Debian,
    /// Gentoo binary packages
    Gentoo,
}

impl Component {
    /// A Debian package of a suite.
    pub(crate) fn of_debian(package: &Package, suite: &str) -> Self {
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            ecosystem: Ecosystem::Debian,
            architecture: package.architecture.clone(),
            repository: suite.to_owned(),
            sha256: Some(package.sha256.clone()),
            license: None,
        }
    }

    /// A Gentoo package. Its licence is in Gentoo's words, which SPDX has others for.
    pub(crate) fn of_gentoo(package: &SelectedPackage, architecture: &str) -> Self {
        let repository = if package.repository.is_empty() { "unknown" } else { &package.repository };
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            ecosystem: Ecosystem::Gentoo,
            architecture: architecture.to_owned(),
            repository: repository.to_owned(),
            sha256: Some(package.sha256.clone()),
            license: None,
        }
    }

    /// A package URL, see <https://github.com/package-url/purl-spec>.
    pub fn purl(&self) -> String {
        let Self { architecture, repository, .. } = self;
        let version = escape(&self.version);
        match self.ecosystem {
            Ecosystem::Debian => {
                let name = escape(&self.name);
                format!("pkg:deb/debian/{name}@{version}?arch={architecture}&distro={}", escape(repository))
            }
            Ecosystem::Gentoo => {
                let name: Vec<String> = self.name.split('/').map(escape).collect();
                let name = name.join("/");
                format!("pkg:ebuild/{name}@{version}?arch={architecture}&repository={}", escape(repository))
            }
        }
    }
}

/// As `equery list --format '$cpv::$repo'` has it, which is the form of Flatcar's lists.
impl fmt::Display for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}::{}", self.name, self.version, self.repository)
    }
}

/// Percent-encodes what a package URL does not take as it is.
fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_as_their_ecosystem_does() {
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
