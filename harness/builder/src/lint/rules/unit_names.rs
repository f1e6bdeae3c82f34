// SPDX-License-Identifier: Apache-2.0
//! Units that others name, and places in which systemd does not look for them.
use camino::Utf8Path;

use crate::lint::base::Base;
use crate::lint::content::{Content, Kind, UNITS};
use crate::lint::finding::Fault;
use crate::lint::similar::similar;
use crate::unit_file::{assignments, is_unit, template};

/// Types of units that have files; systemd makes mounts, devices and slices on its own.
const TYPES: [&str; 5] = ["service", "socket", "target", "timer", "path"];
/// Units that Flatcar adds while it boots: its extensions since 3794, Torcx before.
const VENDOR: [&str; 3] = ["containerd.service", "docker.service", "docker.socket"];

/// Units that must exist for another one, and do not: systemd logs nothing for `Upholds=`, and fails the
/// unit that requires them.
pub(super) fn missing(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    for (path, _, text) in content.units() {
        for assignment in assignments(text).filter(|assignment| assignment.section == "Unit") {
            if !matches!(assignment.key, "Upholds" | "Requires" | "Requisite" | "BindsTo") {
                continue;
            }
            let missing =
                assignment.value.split_whitespace().filter_map(|name| is_missing(content, base, name));
            found.extend(missing.map(|missing| {
                let (key, line) = (assignment.key, assignment.line);
                missing.fault(path, &format!("has `{key}=` in line {line} for"))
            }));
        }
    }
    for path in content.entries.keys().filter(|path| Content::link_directory(path).is_some()) {
        let missing = is_missing(content, base, path.file_name().unwrap_or_default());
        found.extend(missing.map(|missing| missing.fault(path, "is a link for")));
    }
    found
}

/// A unit that does not exist.
struct Missing<'a> {
    name: &'a str,
    similar: Option<&'a str>,
    /// whether the files of the image are known
    is_certain: bool,
}

impl Missing<'_> {
    fn fault(&self, path: &Utf8Path, subject: &str) -> Fault {
        let name = self.name.escape_debug();
        let place =
            if self.is_certain { "neither the extension nor the image has" } else { "the extension lacks" };
        let fault = Fault::warning(path, format!("{subject} {name}, which {place}"));
        match self.similar {
            Some(similar) => fault.with_hint(format!("is `{}` meant?", similar.escape_debug())),
            None => fault.with_hint("correct the name, or add the unit"),
        }
    }
}

fn is_missing<'a>(content: &'a Content, base: &Base<'_>, name: &'a str) -> Option<Missing<'a>> {
    let kind = name.rsplit_once('.')?.1;
    if !TYPES.contains(&kind) || name.contains('%') || VENDOR.contains(&name) {
        return None;
    }
    let template = template(name);
    let exists = |name: &str| content.unit_files().any(|(_, unit)| unit == name) || base.tree.has_unit(name);
    if exists(name) || template.is_some_and(|template| exists(&template)) {
        return None;
    }
    let similar = similar(name, content.unit_files().map(|(_, unit)| unit));
    let is_certain = base.tree.is_complete();
    (is_certain || similar.is_some()).then_some(Missing { name, similar, is_certain })
}

/// Unit files in directories that systemd does not read.
pub(super) fn ignored(content: &Content, _: &Base<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    for (path, entry) in &content.entries {
        let Some(directory) = path.parent() else { continue };
        let is_other = directory.ends_with("systemd/system")
            && directory.starts_with("usr")
            && !UNITS.contains(&directory.as_str());
        if is_other && entry.kind != Kind::Directory && is_unit(path.file_name().unwrap_or_default()) {
            let message =
                format!("is a unit in a directory that systemd does not read: it reads /{}", UNITS[1]);
            found.push(Fault::warning(path, message).with_hint(format!("move it to /{}", UNITS[1])));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Image, unknown};
    use super::*;

    const DROP_IN: &str = "usr/lib/systemd/system/multi-user.target.d/10.conf";

    fn content(upholds: &str) -> Content {
        Content::of(&[])
            .with_text("usr/lib/systemd/system/haproxy.service", "[Service]\n")
            .with_text("usr/local/lib/systemd/system/worker@.service", "[Service]\n")
            .with_text(DROP_IN, &format!("[Unit]\nUpholds={upholds}\n"))
    }

    #[test]
    fn names_are_those_of_units_of_the_extension_or_the_image() {
        let image = Image::new("4593.2.0", 257, "-rw ./usr/lib/systemd/system/sshd.socket\n");
        for name in [
            "haproxy.service",
            "worker@1.service",
            "sshd.socket",
            "docker.service",
            "a-%i.service",
            "x.mount",
            "",
        ] {
            assert!(image.findings(missing, &content(name)).is_empty(), "{name}");
        }
        let found = image.findings(missing, &content("nosuch.service haproxyd.service"));
        assert_eq!(
            found,
            [
                format!(
                    "warning: /{DROP_IN} has `Upholds=` in line 2 for nosuch.service, which neither the extension nor \
                     the image has"
                ),
                format!(
                    "warning: /{DROP_IN} has `Upholds=` in line 2 for haproxyd.service, which neither the extension \
                     nor the image has"
                ),
            ]
        );
        let similar = unknown().findings(missing, &content("nosuch.service haproxyd.service"));
        assert_eq!(
            similar,
            [format!(
                "warning: /{DROP_IN} has `Upholds=` in line 2 for haproxyd.service, which the extension lacks"
            )]
        );
        let link =
            Content::of(&["777 0 usr/lib/systemd/system/a.target.upholds/no.service -> ../no.service"]);
        assert_eq!(image.findings(missing, &link).len(), 1);
    }

    #[test]
    fn units_elsewhere_are_warned_of() {
        let content = Content::of(&[
            "644 0 usr/share/systemd/system/a.service",
            "644 0 usr/lib/systemd/system/b.service",
            "644 0 usr/local/lib/systemd/system/c.service",
            "644 0 usr/lib/systemd/user/d.service",
        ]);
        assert_eq!(
            unknown().findings(ignored, &content),
            [
                "warning: /usr/share/systemd/system/a.service is a unit in a directory that systemd does not read: it \
              reads /usr/lib/systemd/system"
            ]
        );
    }
}
