// SPDX-License-Identifier: Apache-2.0
use loadgauge_images::{Architecture, OsRelease, Release};

use super::accounts::Accounts;
use super::base_tree::BaseTree;
use crate::target::Target;

/// The facts of the image that an extension is judged for. Rules have no finding where the fact that they
/// need is not known, or say so.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// `/usr/lib/os-release`
    pub os_release: &'a OsRelease,
    /// the architecture
    pub architecture: Architecture,
    /// the major version of systemd
    pub systemd: Option<u32>,
    /// the files
    pub tree: &'a BaseTree,
    /// the users and groups
    pub accounts: Option<&'a Accounts>,
}

impl<'a> Base<'a> {
    /// The facts of a target.
    pub fn of_target(target: &'a Target<'_>, accounts: Option<&'a Accounts>) -> Self {
        let Target { os_release, architecture, systemd, .. } = *target;
        Self { os_release, architecture, systemd, tree: &target.links, accounts }
    }

    /// The release, for facts of releases that the image itself does not show.
    pub(super) fn release(&self) -> Option<Release> {
        self.os_release.get("VERSION_ID")?.parse().ok()
    }
}
