// SPDX-License-Identifier: Apache-2.0
//! The users and groups of units.
use camino::Utf8Path;

use crate::lint::accounts::Accounts;
use crate::lint::base::Base;
use crate::lint::content::Content;
use crate::lint::finding::Fault;
use crate::unit_file::assignments;

/// Accounts that every image has.
const ALWAYS: [&str; 6] = ["root", "nobody", "nogroup", "core", "daemon", "messagebus"];

/// Users and groups that nothing makes, so that systemd fails with 217/USER or 216/GROUP. Maintainer scripts,
/// which make them on Debian, do not run.
pub(super) fn missing(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let mut own = Accounts::default();
    for (path, text) in &content.texts {
        if path.starts_with("usr/lib/sysusers.d") && path.extension() == Some("conf") {
            own.add_sysusers(text);
        }
    }
    // Records of systemd-userdbd(8).
    for path in content.entries.keys().filter(|path| path.starts_with("usr/lib/userdb")) {
        let name = path.file_stem().unwrap_or_default().to_owned();
        match path.extension() {
            Some("user") => drop(own.users.insert(name)),
            Some("group") => drop(own.groups.insert(name)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for (path, _, text) in content.units() {
        let has = |key: &str| assignments(text).any(|one| one.key == key && is_true(&one.value));
        if has("DynamicUser") || is_dynamic(content, path) {
            continue;
        }
        for one in assignments(text) {
            let (what, names, of_image) = match (one.section, one.key) {
                ("Service" | "Socket" | "Mount" | "Swap", "User") | ("Socket", "SocketUser") => {
                    ("user", &own.users, base.accounts.map(|accounts| &accounts.users))
                }
                ("Service" | "Socket" | "Mount" | "Swap", "Group") | ("Socket", "SocketGroup") => {
                    ("group", &own.groups, base.accounts.map(|accounts| &accounts.groups))
                }
                _ => continue,
            };
            let name = one.value.as_str();
            let is_known = name.is_empty()
                || name.contains('%')
                || name.bytes().all(|byte| byte.is_ascii_digit())
                || ALWAYS.contains(&name)
                || names.contains(name);
            let there = match of_image {
                Some(names) => names.contains(name),
                // systemd's own, such as systemd-network.
                None => name.starts_with("systemd-"),
            };
            if is_known || there {
                continue;
            }
            let place = if of_image.is_some() {
                "which neither sysusers.d of the extension nor the image has"
            } else {
                "which sysusers.d of the extension does not have; the image's are not known"
            };
            let message = format!("has the {what} `{}` in line {}, {place}", name.escape_debug(), one.line);
            found.push(
                Fault::warning(path, message)
                    .with_hint("add a file to /usr/lib/sysusers.d, or use DynamicUser=yes"),
            );
        }
    }
    found
}

fn is_true(value: &str) -> bool {
    matches!(value, "1" | "yes" | "y" | "true" | "t" | "on")
}

/// Whether the unit of a drop-in, or a drop-in of the unit, has `DynamicUser=yes`.
fn is_dynamic(content: &Content, path: &Utf8Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let unit = path.parent().and_then(Utf8Path::file_name).and_then(|parent| parent.strip_suffix(".d"));
    content.units().any(|(other, _, text)| {
        let parent = other.parent().and_then(Utf8Path::file_name).unwrap_or_default();
        let is_same = parent.strip_suffix(".d") == Some(unit.unwrap_or(name))
            || unit.is_some_and(|unit| other.file_name() == Some(unit));
        is_same && assignments(text).any(|one| one.key == "DynamicUser" && is_true(&one.value))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Image, unknown};
    use super::*;

    const UNIT: &str = "usr/lib/systemd/system/a.service";

    fn unit(text: &str) -> Content {
        Content::of(&[]).with_text(UNIT, text)
    }

    fn image() -> Image {
        let mut accounts = Accounts::default();
        accounts.add_sysusers("u etcd 232\ng docker 233\n");
        Image { accounts: Some(accounts), ..unknown() }
    }

    #[test]
    fn accounts_that_nothing_makes_are_warned_of() {
        let content = unit("[Service]\nUser=_chrony\nGroup=docker\n[Socket]\nSocketGroup=x\n");
        assert_eq!(
            image().findings(missing, &content),
            [
                format!(
                    "warning: /{UNIT} has the user `_chrony` in line 2, which neither sysusers.d of the extension nor \
                     the image has"
                ),
                format!(
                    "warning: /{UNIT} has the group `x` in line 5, which neither sysusers.d of the extension nor the \
                     image has"
                ),
            ]
        );
        let found = unknown().findings(missing, &unit("[Service]\nUser=etcd\n"));
        assert!(found[0].ends_with("the image's are not known"), "{found:?}");
    }

    #[test]
    fn accounts_of_the_extension_and_the_image_are_known() {
        for text in [
            "[Service]\nUser=etcd\nGroup=docker\n",
            "[Service]\nUser=root\n",
            "[Service]\nUser=1000\n",
            "[Service]\nUser=%i\n",
            "[Service]\nUser=\n",
            "[Service]\nUser=_chrony\nDynamicUser=yes\n",
        ] {
            assert!(image().findings(missing, &unit(text)).is_empty(), "{text}");
        }
        let own = unit("[Service]\nUser=_chrony\n").with_text("usr/lib/sysusers.d/a.conf", "u _chrony -\n");
        assert!(image().findings(missing, &own).is_empty());
        let mut record = unit("[Service]\nUser=_chrony\n");
        record.entries.extend(Content::of(&["644 0 usr/lib/userdb/_chrony.user"]).entries);
        assert!(image().findings(missing, &record).is_empty());
        let drop_in = unit("[Service]\nUser=_chrony\n")
            .with_text("usr/lib/systemd/system/a.service.d/10.conf", "[Service]\nDynamicUser=yes\n");
        assert!(image().findings(missing, &drop_in).is_empty());
    }
}
