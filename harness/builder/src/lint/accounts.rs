// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use camino::Utf8Path;
use loadgauge_host::{FileError, Scratch};
use loadgauge_images::file_system::{FilePattern, FileSystem, Selection, Tree};

/// The files with the accounts of a root: passwd(5) and group(5) of Debian and of Flatcar, whose /etc is
/// made at the first boot, and sysusers.d(5).
const FILES: [FilePattern; 5] = [
    FilePattern::file("etc", "passwd"),
    FilePattern::file("etc", "group"),
    FilePattern::file("usr/share/baselayout", "passwd"),
    FilePattern::file("usr/share/baselayout", "group"),
    FilePattern::between("usr/lib/sysusers.d", "", ".conf"),
];

/// The names of users and groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    pub(super) users: BTreeSet<String>,
    pub(super) groups: BTreeSet<String>,
}

impl Accounts {
    /// Reads the accounts of a root: a directory or a squashfs. Nothing is returned where it has no list of
    /// users.
    ///
    /// # Errors
    /// The root cannot be read.
    pub fn of_root(root: &Utf8Path) -> Result<Option<Self>, FileError> {
        let scratch = Scratch::new()?;
        let tree = if root.is_dir() {
            Tree::at(root)?
        } else {
            let target = scratch.path();
            let extracted = FileSystem::Squashfs.extract(root, target, Selection::Files(&FILES));
            extracted.map_err(|error| FileError::at("read", root)(std::io::Error::other(error)))?.0
        };
        let mut accounts = Self::default();
        for pattern in FILES {
            for name in tree.names(pattern) {
                let text = tree.text(&format!("{}/{name}", pattern.directory))?.unwrap_or_default();
                match name.as_str() {
                    "passwd" => accounts.users.extend(database(&text)),
                    "group" => accounts.groups.extend(database(&text)),
                    _ => accounts.add_sysusers(&text),
                }
            }
        }
        Ok((!accounts.users.is_empty()).then_some(accounts))
    }

    /// Adds the accounts that a file of sysusers.d(5) makes.
    pub(super) fn add_sysusers(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split_whitespace().map(|field| field.trim_matches('"'));
            let (Some(kind), Some(name)) = (fields.next(), fields.next()) else { continue };
            match kind.trim_end_matches('!') {
                "u" => {
                    self.users.insert(name.to_owned());
                    self.groups.insert(name.to_owned());
                }
                "g" => drop(self.groups.insert(name.to_owned())),
                // A member: both are made.
                "m" => {
                    self.users.insert(name.to_owned());
                    self.groups.extend(fields.next().map(str::to_owned));
                }
                _ => {}
            }
        }
    }
}

/// The names in a file of passwd(5) or group(5).
fn database(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_all_files_of_a_root() {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        assert_eq!(Accounts::of_root(root).expect("read"), None, "no list of users");
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write(
            "usr/share/baselayout/passwd",
            "root:x:0:0:root:/root:/bin/bash\ncore:x:500:500::/home/core:\n",
        );
        write("usr/share/baselayout/group", "docker:x:233:\n");
        write("usr/lib/sysusers.d/a.conf", "#u no -\nu! _a - \"A\"\ng  b -\nm core c\nr - 500-900\n");
        let accounts = Accounts::of_root(root).expect("read").expect("known");
        assert_eq!(accounts.users.iter().collect::<Vec<_>>(), ["_a", "core", "root"]);
        assert_eq!(accounts.groups.iter().collect::<Vec<_>>(), ["_a", "b", "c", "docker"]);
    }
}
