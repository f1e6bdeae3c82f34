// SPDX-License-Identifier: Apache-2.0
//! What starts the units of an extension.
use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::lint::base::Base;
use crate::lint::content::{Content, Kind, UNITS};
use crate::lint::finding::Fault;
use crate::unit_file::assignments;

/// The targets that Flatcar starts again after a merge, up to release 4627 (`ensure-sysext.service`).
const RESTARTED: [&str; 3] = ["multi-user.target", "sockets.target", "timers.target"];
/// The first release that merges extensions before systemd reads the units of the system.
const FIRST_INITRD_MERGE: u32 = 4628;

/// What starts the units of an extension, by the units' names.
#[derive(Debug, Default)]
struct Starts {
    /// started at boot and after a refresh of a running system
    always: BTreeSet<String>,
    /// started with a target of the image: the target, and the link or drop-in that says so
    with_target: BTreeMap<String, (String, Utf8PathBuf)>,
}

impl Starts {
    fn of(content: &Content) -> Self {
        let mut starts = Self::default();
        let own: BTreeSet<&str> = content.unit_files().map(|(_, name)| name).collect();
        for (path, below, text) in content.units() {
            let target = below.components().next().map_or("", |first| first.as_str());
            let target = target.strip_suffix(".d").unwrap_or(target);
            for assignment in assignments(text) {
                let starts_again = match (assignment.section, assignment.key) {
                    ("Unit", "Wants" | "Requires" | "BindsTo") => own.contains(target),
                    ("Unit", "Upholds" | "OnFailure" | "OnSuccess")
                    | ("Socket", "Service")
                    | ("Timer" | "Path", "Unit") => true,
                    _ => continue,
                };
                for name in assignment.value.split_whitespace() {
                    starts.add(name, starts_again, target, path);
                }
            }
        }
        for path in content.entries.keys() {
            let Some((target, kind)) = Content::link_directory(path) else { continue };
            let starts_again = kind == "upholds" || own.contains(target);
            starts.add(path.file_name().unwrap_or_default(), starts_again, target, path);
        }
        for (path, text) in &content.texts {
            if path.starts_with("usr/share/dbus-1/system-services") {
                let services = assignments(text).filter(|assignment| assignment.key == "SystemdService");
                starts.always.extend(services.map(|assignment| assignment.value));
            }
        }
        starts
    }

    fn add(&mut self, name: &str, always: bool, target: &str, path: &Utf8Path) {
        if always {
            self.always.insert(name.to_owned());
        } else {
            self.with_target.entry(name.to_owned()).or_insert((target.to_owned(), path.to_owned()));
        }
    }
}

/// All names of a unit: its own, and those of links to it.
fn names<'a>(content: &'a Content, path: &'a Utf8Path, name: &'a str) -> impl Iterator<Item = &'a str> {
    let aliases = content.unit_files().filter_map(move |(other, alias)| match &content.get(other)?.kind {
        Kind::Link(_) if content.resolve(other).as_deref() == Some(path) => Some(alias),
        _ => None,
    });
    aliases.chain(std::iter::once(name))
}

/// Whether a socket, timer or path with the unit's name activates it.
fn is_activated(content: &Content, base: &Base<'_>, path: &Utf8Path) -> bool {
    path.extension() == Some("service")
        && ["socket", "timer", "path"].iter().any(|kind| {
            let other = path.with_extension(kind);
            content.get(&other).is_some() || base.tree.has_unit(other.file_name().unwrap_or_default())
        })
}

/// Units with an `[Install]` section, which systemd does not evaluate in extensions
/// (flatcar/sysext-bakery#8), and that nothing else starts.
pub(super) fn not_started(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let starts = Starts::of(content);
    let mut found = Vec::new();
    for (path, name) in content.unit_files() {
        let Some(text) = content.texts.get(path).filter(|_| content.is_file(path)) else { continue };
        let install = assignments(text).find(|assignment| {
            assignment.section == "Install"
                && matches!(assignment.key, "WantedBy" | "RequiredBy" | "UpheldBy")
        });
        let Some(install) = install else { continue };
        let is_started = |name: &str| {
            starts.always.contains(name) || starts.with_target.contains_key(name) || base.tree.starts(name)
        };
        if name.contains('@')
            || is_activated(content, base, path)
            || names(content, path, name).any(is_started)
        {
            continue;
        }
        // The default target has another name on most systems, and drop-ins go by the real one.
        let target = install.value.split_whitespace().next().filter(|target| *target != "default.target");
        let target = target.unwrap_or("multi-user.target");
        let message = "is started by nothing: systemd does not evaluate the [Install] section in extensions";
        found.push(Fault::warning(path, message).with_hint(format!(
            "add /{}/{target}.d/10-{}.conf with `[Unit]` and `Upholds={name}` (`[finish] upholds` in a recipe)",
            UNITS[1],
            name.replace('.', "-"),
        )));
    }
    found
}

/// Units that are started together with a target of the image alone. After a refresh of a running system
/// the target is active already, and systemd starts nothing; before release 4628 that is so at boot for most
/// targets.
pub(super) fn boot_only(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let starts = Starts::of(content);
    let early = base.release().is_some_and(|release| release.major < FIRST_INITRD_MERGE);
    let mut found = Vec::new();
    for (path, name) in content.unit_files() {
        if starts.always.contains(name) || is_activated(content, base, path) || base.tree.starts(name) {
            continue;
        }
        let Some((target, from)) = starts.with_target.get(name) else { continue };
        let when = if early && !RESTARTED.contains(&target.as_str()) {
            "neither at boot nor after a refresh, since the target is active before the extension is merged"
        } else {
            "at boot, but not after a refresh of a running system"
        };
        let target = target.escape_debug();
        let message = format!("is wanted by {target} (/{from}): it is started {when}");
        found.push(
            Fault::warning(path, message).with_hint(format!("use `Upholds={name}` in a drop-in of {target}")),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Image, unknown};
    use super::*;

    const INSTALL: &str = "[Install]\nWantedBy=multi-user.target\n";

    fn content(units: &[(&str, &str)]) -> Content {
        units.iter().fold(Content::of(&[]), |content, (path, text)| {
            content.with_text(&format!("usr/lib/systemd/system/{path}"), text)
        })
    }

    #[test]
    fn a_unit_that_nothing_starts_is_warned_of() {
        let message = "is started by nothing: systemd does not evaluate the [Install] section in extensions";
        let found = |units: &[(&str, &str)]| unknown().findings(not_started, &content(units));
        let lone = format!("warning: /usr/lib/systemd/system/api.service {message}");
        assert_eq!(found(&[("api.service", INSTALL)]), std::slice::from_ref(&lone));
        // The name of another unit contains its name.
        let upholds = ("multi-user.target.d/10.conf", "[Unit]\nUpholds=caddy-api.service\n");
        assert_eq!(found(&[("api.service", INSTALL), ("caddy-api.service", INSTALL), upholds]), [lone]);
        for (path, text) in [
            ("multi-user.target.d/10.conf", "[Unit]\nUpholds=x.service \\\n api.service\n"),
            ("multi-user.target.upholds/api.service", ""),
            ("multi-user.target.wants/api.service", ""),
            ("api.socket", "[Socket]\n"),
            ("other.timer", "[Timer]\nUnit=api.service\n"),
            ("other.service", "[Unit]\nRequires=api.service\n"),
        ] {
            assert!(found(&[("api.service", INSTALL), (path, text)]).is_empty(), "{path}");
        }
        assert!(found(&[("api@.service", INSTALL), ("a.service", "[Service]\n")]).is_empty());
    }

    #[test]
    fn units_below_usr_local_are_found() {
        let content = Content::of(&[]).with_text("usr/local/lib/systemd/system/k3s.service", INSTALL);
        assert_eq!(unknown().findings(not_started, &content).len(), 1);
    }

    #[test]
    fn a_unit_that_replaces_one_of_the_image_is_started_as_that_one() {
        let image = Image::new(
            "4593.2.0",
            257,
            "lrwx ./usr/lib/systemd/system/x.target.wants/api.service -> ../api.service\n",
        );
        assert!(image.findings(not_started, &content(&[("api.service", INSTALL)])).is_empty());
    }

    #[test]
    fn a_unit_that_only_a_boot_starts_is_warned_of() {
        let found = |release: &str, link: &str, drop_in: &str| {
            let units = [("a.service", INSTALL), (link, ""), ("multi-user.target.d/10.conf", drop_in)];
            Image::new(release, 257, "").findings(boot_only, &content(&units))
        };
        let link = "multi-user.target.wants/a.service";
        assert_eq!(
            found("4593.2.0", link, ""),
            ["warning: /usr/lib/systemd/system/a.service is wanted by multi-user.target \
              (/usr/lib/systemd/system/multi-user.target.wants/a.service): it is started at boot, but not after a \
              refresh of a running system"]
        );
        assert!(found("4593.2.0", "basic.target.wants/a.service", "")[0].contains("neither at boot"));
        assert!(!found("4628.0.0", "basic.target.wants/a.service", "")[0].contains("neither at boot"));
        assert!(found("4593.2.0", link, "[Unit]\nUpholds=a.service\n").is_empty());
        assert!(found("4593.2.0", "b.target.d/x.conf", "").is_empty());
    }
}
