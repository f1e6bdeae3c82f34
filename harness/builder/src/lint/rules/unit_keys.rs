// SPDX-License-Identifier: Apache-2.0
//! Sections and keys of unit files that systemd does not know.
use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use crate::lint::base::Base;
use crate::lint::content::Content;
use crate::lint::finding::Fault;
use crate::lint::similar::similar;
use crate::unit_file::{Line, lines, sections};

/// The table of keys; see its first lines.
const TABLE: &str = include_str!("../unit_keys.txt");
/// The versions of systemd that the table is made from.
const VERSIONS: [u32; 3] = [252, 257, 262];

/// The first version of [`VERSIONS`] with each key, by section.
type Keys = BTreeMap<&'static str, BTreeMap<&'static str, u32>>;

fn keys() -> Keys {
    let mut keys = Keys::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let Some((head, names)) = line.split_once(": ") else { continue };
        let Some((version, sections)) = head.split_once(' ') else { continue };
        let Ok(version) = version.parse() else { continue };
        for section in sections.split(',') {
            keys.entry(section).or_default().extend(names.split(' ').map(|name| (name, version)));
        }
    }
    keys
}

/// Lines that systemd skips with a message ("Unknown key", "Unknown section", "Missing '='"), so that the
/// unit does something else than it says.
pub(super) fn unknown(content: &Content, base: &Base<'_>) -> Vec<Fault> {
    let keys = keys();
    let mut found = Vec::new();
    for (path, below, text) in content.units() {
        let Some(known) = kind(below).and_then(sections) else { continue };
        let mut reported = BTreeSet::new();
        let mut skips = false;
        for line in lines(text) {
            let fault = match line {
                Line::Section(number, name) => {
                    skips = !known.contains(&name);
                    if !skips || name.starts_with("X-") {
                        continue;
                    }
                    Fault::warning(
                        path,
                        format!(
                            "has the section [{}] in line {number}, which systemd skips: a unit \
                        of its type has {}",
                            name.escape_debug(),
                            list(&known)
                        ),
                    )
                }
                Line::Other(..) | Line::Assignment(_) if skips => continue,
                Line::Other(number, _) => Fault::warning(
                    path,
                    format!("has neither a section nor an assignment in line {number}, which systemd skips"),
                ),
                Line::Assignment(assignment) if assignment.section.is_empty() => {
                    let message = format!(
                        "has an assignment outside of a section in line {}, which systemd skips",
                        assignment.line
                    );
                    Fault::warning(path, message)
                }
                Line::Assignment(assignment) => {
                    let (section, key) = (assignment.section, assignment.key);
                    if key.starts_with("X-") || !reported.insert((section.to_owned(), key.to_owned())) {
                        continue;
                    }
                    let Some(all) = keys.get(section) else { continue };
                    match unknown_key(all, section, key, base.systemd) {
                        Some((why, hint)) => {
                            let fault = Fault::warning(
                                path,
                                format!(
                                    "has the key `{}` in line {}, {why}",
                                    key.escape_debug(),
                                    assignment.line
                                ),
                            );
                            hint.map_or(fault.clone(), |hint| fault.with_hint(hint))
                        }
                        None => continue,
                    }
                }
            };
            found.push(fault);
        }
    }
    found
}

/// Why systemd skips a key, and the key that is meant.
fn unknown_key(
    keys: &BTreeMap<&'static str, u32>,
    section: &str,
    key: &str,
    systemd: Option<u32>,
) -> Option<(String, Option<String>)> {
    let newest = VERSIONS[VERSIONS.len() - 1];
    match keys.get(key) {
        None if systemd.is_some_and(|systemd| systemd > newest) => None,
        None => {
            let hint = similar(key, keys.keys().copied()).map(|similar| format!("is `{similar}` meant?"));
            Some((format!("which systemd does not know in [{section}], and skips"), hint))
        }
        Some(first) => {
            // The key is newer than the last version that lacks it.
            let lacks = VERSIONS.iter().rev().find(|version| *version < first)?;
            let systemd = systemd.filter(|systemd| systemd <= lacks)?;
            Some((
                format!(
                    "which the image's systemd {systemd} does not know, and skips: it came after {lacks}"
                ),
                None,
            ))
        }
    }
}

/// The type of the unit that a unit file or drop-in is for, by its path below the directory of units.
fn kind(below: &Utf8Path) -> Option<&str> {
    let mut components = below.components().map(|component| component.as_str());
    let (first, second) = (components.next()?, components.next());
    if components.next().is_some() {
        return None;
    }
    let unit = match second {
        None => first,
        Some(name) if Utf8Path::new(name).extension() == Some("conf") => first.strip_suffix(".d")?,
        Some(_) => return None,
    };
    // `service.d` is for all services.
    Some(unit.rsplit_once('.').map_or(unit, |(_, kind)| kind))
}

fn list(sections: &[&str]) -> String {
    let names: Vec<String> = sections.iter().map(|section| format!("[{section}]")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::Image;
    use super::*;

    fn found(systemd: u32, path: &str, text: &str) -> Vec<String> {
        let path = format!("usr/lib/systemd/system/{path}");
        Image::new("4593.2.0", systemd, "").findings(unknown, &Content::of(&[]).with_text(&path, text))
    }

    #[test]
    fn the_table_has_the_keys_of_every_type() {
        let keys = keys();
        assert_eq!(
            keys.keys().copied().collect::<Vec<_>>(),
            [
                "Automount",
                "Install",
                "Mount",
                "Path",
                "Scope",
                "Service",
                "Slice",
                "Socket",
                "Swap",
                "Timer",
                "Unit"
            ]
        );
        assert_eq!(keys["Service"].get("ExecStart"), Some(&252));
        assert!(keys.values().flat_map(BTreeMap::values).all(|version| VERSIONS.contains(version)));
    }

    #[test]
    fn known_lines_have_no_findings() {
        let text = "[Unit]\nDescription=x\nX-Own=1\n[Service]\nExecStart=/bin/true\nType=oneshot\n\
                    RemainAfterExit=yes\nUser=a\nMemoryMax=1G\n[Install]\nWantedBy=a.target\n[X-Own]\nanything\nA=b\n";
        assert_eq!(found(252, "a.service", text), Vec::<String>::new());
        assert!(found(257, "service.d/10.conf", "[Service]\nUser=a\n").is_empty());
        assert!(
            found(257, "a.target.wants/b.service", "[Foo]\n").is_empty(),
            "a link is read where it leads to"
        );
    }

    #[test]
    fn lines_that_systemd_skips_are_warned_of() {
        let text = "A=b\n[Service]\nRemainsAfterExit=yes\nRemainsAfterExit=yes\nfoo\n[Foo]\nA=b\n";
        assert_eq!(
            found(257, "a.service", text),
            [
                "warning: /usr/lib/systemd/system/a.service has an assignment outside of a section in line 1, which \
                 systemd skips",
                "warning: /usr/lib/systemd/system/a.service has the key `RemainsAfterExit` in line 3, which systemd \
                 does not know in [Service], and skips",
                "warning: /usr/lib/systemd/system/a.service has neither a section nor an assignment in line 5, which \
                 systemd skips",
                "warning: /usr/lib/systemd/system/a.service has the section [Foo] in line 6, which systemd skips: a \
                 unit of its type has [Unit], [Install], [Service]",
            ]
        );
        let drop_in = found(257, "multi-user.target.d/10.conf", "[Service]\nUser=a\n");
        assert!(drop_in[0].contains("[Service] in line 1"), "{drop_in:?}");
    }

    #[test]
    fn a_key_of_a_later_systemd_is_warned_of_where_that_is_certain() {
        let text = "[Install]\nUpheldBy=multi-user.target\n";
        assert!(found(252, "a.service", text)[0].contains("systemd 252 does not know"));
        assert!(found(255, "a.service", text).is_empty(), "it came between 252 and 257");
        assert!(found(257, "a.service", text).is_empty());
        assert!(found(263, "a.service", "[Service]\nBrandNew=1\n").is_empty());
    }
}
