// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use crate::lint::{Content, Kind};
use crate::unit_file;

/// What the files of an extension ask of systemd once they are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activation {
    /// the units that systemd starts as long as another unit is active: `Upholds=` and `*.upholds/`
    pub upheld: BTreeSet<String>,
    /// the units that start together with another unit, by that unit: `*.wants/` and `*.requires/`
    pub wanted: BTreeMap<String, BTreeSet<String>>,
    /// the units whose files are in the extension, without templates
    pub units: BTreeSet<String>,
    /// the names of the files in `usr/lib/sysusers.d`
    pub sysusers: Vec<String>,
    /// the names of the files in `usr/lib/tmpfiles.d`
    pub tmpfiles: Vec<String>,
}

impl Activation {
    /// Finds what an extension asks for in its content.
    pub fn of(content: &Content) -> Self {
        let mut activation = Self {
            units: content
                .unit_files()
                .map(|(_, name)| name.to_owned())
                .filter(|name| !name.contains("@."))
                .collect(),
            sysusers: configurations(content, "usr/lib/sysusers.d"),
            tmpfiles: configurations(content, "usr/lib/tmpfiles.d"),
            ..Self::default()
        };
        for (_, _, text) in content.units() {
            let values = unit_file::values(text, "Unit", "Upholds");
            activation
                .upheld
                .extend(values.iter().flat_map(|value| value.split_whitespace()).map(str::to_owned));
        }
        for path in content.entries.keys() {
            let (Some((unit, kind)), Some(name)) = (Content::link_directory(path), path.file_name()) else {
                continue;
            };
            if kind == "upholds" {
                activation.upheld.insert(name.to_owned());
            } else {
                activation.wanted.entry(unit.to_owned()).or_default().insert(name.to_owned());
            }
        }
        activation
    }
}

/// The names of the configuration files in a directory, as systemd reads them.
fn configurations(content: &Content, directory: &str) -> Vec<String> {
    let files = content.entries.iter().filter(|(path, entry)| {
        path.parent() == Some(Utf8Path::new(directory))
            && path.extension() == Some("conf")
            && entry.kind != Kind::Directory
    });
    files.filter_map(|(path, _)| path.file_name().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_start_a_unit_is_found() {
        let units = "usr/lib/systemd/system";
        let content = Content::of(&[
            &format!("777 0 {units}/multi-user.target.upholds/e.service -> ../e.service"),
            &format!("777 0 {units}/sockets.target.wants/f.socket -> ../f.socket"),
            &format!("777 0 {units}/multi-user.target.requires/g.service -> ../g.service"),
            "644 0 usr/lib/sysusers.d/a.conf",
            "644 0 usr/lib/tmpfiles.d/a.conf",
            "644 0 usr/lib/tmpfiles.d/README",
        ])
        .with_text(&format!("{units}/multi-user.target.d/10-a.conf"), "[Unit]\nUpholds=a.service b.socket\n")
        .with_text(&format!("{units}/c.service"), "[Unit]\nUpholds=d.service\n[Service]\nExecStart=/bin/c\n")
        .with_text(&format!("{units}/c@.service"), "[Service]\nExecStart=/bin/c %i\n")
        .with_text("usr/local/lib/systemd/system/k.target.d/x.conf", "[Unit]\nUpholds=k3s.service\n");
        let activation = Activation::of(&content);
        let units = ["a.service", "b.socket", "d.service", "e.service", "k3s.service"];
        assert_eq!(activation.upheld, units.map(str::to_owned).into());
        assert_eq!(activation.units, ["c.service".to_owned()].into());
        assert_eq!(activation.wanted["sockets.target"], ["f.socket".to_owned()].into());
        assert_eq!(activation.wanted["multi-user.target"], ["g.service".to_owned()].into());
        assert_eq!(activation.sysusers, ["a.conf"]);
        assert_eq!(activation.tmpfiles, ["a.conf"], "systemd-tmpfiles reads no README");
    }
}
