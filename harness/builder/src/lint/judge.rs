// SPDX-License-Identifier: Apache-2.0
//! The rules applied to a target.
use loadgauge_host::Hint as _;
use loadgauge_images::OsRelease;

use super::accounts::Accounts;
use super::base::Base;
use super::content::{Content, Entry, Kind, Packed, RELEASES};
use super::finding::Finding;
use super::rules::{check, check_content, check_merge};
use crate::release_file;
use crate::target::Target;

/// Applies all rules to an extension for a target, with errors first.
pub fn judge(content: &Content, target: &Target<'_>) -> Vec<Finding> {
    let accounts = accounts(content, target);
    check(content, &Base::of_target(target, accounts.as_ref()))
}

/// Applies the rules about what an extension does to the guest.
pub(crate) fn judge_content(content: &Content, target: &Target<'_>) -> Vec<Finding> {
    let accounts = accounts(content, target);
    check_content(content, &Base::of_target(target, accounts.as_ref()))
}

/// Applies the rules about whether systemd-sysext merges an extension. `release_name` is the name of its
/// extension-release file.
pub(crate) fn judge_merge(
    name: &str,
    release_name: &str,
    release: &OsRelease,
    packed: Option<Packed>,
    target: &Target<'_>,
) -> Vec<Finding> {
    let mut content = Content { name: name.to_owned(), packed, ..Content::default() };
    let path = camino::Utf8Path::new(RELEASES).join(format!("extension-release.{release_name}"));
    content.entries.insert(path.clone(), Entry { kind: Kind::File, mode: 0o644, owner: None });
    content.texts.insert(path, release_file::write(release));
    check_merge(&content, &Base::of_target(target, None))
}

/// The accounts of a target's root. They are read only where a unit names one.
fn accounts(content: &Content, target: &Target<'_>) -> Option<Accounts> {
    let is_named = content.units().any(|(_, _, text)| text.contains("User") || text.contains("Group"));
    let root = target.root.as_ref().filter(|_| is_named)?;
    Accounts::of_root(root).unwrap_or_else(|error| {
        tracing::warn!(%error, hint = error.hint(), "cannot read the users of the image");
        None
    })
}
