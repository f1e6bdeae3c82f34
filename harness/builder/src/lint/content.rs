// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_images::OsRelease;
use loadgauge_images::file_system::FileSystem;

use super::base_tree::{BaseNode, BaseTree, normal};
use super::release_text;
use crate::unit_file::is_unit;

/// The directories of extension-release files.
pub(super) const RELEASES: &str = "usr/lib/extension-release.d";
/// The directories of the system's units below /usr, the first one wins (systemd.unit(5)).
pub(super) const UNITS: [&str; 2] = ["usr/local/lib/systemd/system", "usr/lib/systemd/system"];
/// The directories in which systemd searches for a program without a path (systemd.service(5)), and
/// which shells have in PATH.
pub(super) const PROGRAMS: [&str; 4] = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin"];
/// Further directories whose texts the rules read.
const OTHER_TEXTS: [&str; 3] =
    ["usr/lib/sysusers.d", "usr/lib/tmpfiles.d", "usr/share/dbus-1/system-services"];
/// The number of links that are followed for a path, as in Linux.
const MAXIMUM_LINKS: usize = 40;

/// Everything that the rules look at in an extension. It is read on the host; see `read`.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// the name in systemd-sysext
    pub name: String,
    /// the form of the image; absent for a directory
    pub packed: Option<Packed>,
    /// all files by path relative to the root; a directory comes before its entries
    pub entries: BTreeMap<Utf8PathBuf, Entry>,
    /// the content of the files that rules read as text; absent for those that are not UTF-8
    pub texts: BTreeMap<Utf8PathBuf, String>,
    /// the first bytes of the files whose kind rules look at
    pub heads: BTreeMap<Utf8PathBuf, Vec<u8>>,
    /// extension-release files that count for an extension of any name (`user.extension-release.strict`)
    pub loose_releases: Vec<Utf8PathBuf>,
    /// the directory that /usr is a link to, and whose files are given as those of /usr
    pub usr_target: Option<Utf8PathBuf>,
}

/// One file of an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// its type
    pub kind: Kind,
    /// permission bits with set-ID bits
    pub mode: u32,
    /// user and group; absent where the reader does not know them
    pub owner: Option<(u32, u32)>,
}

/// The type of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// a directory
    Directory,
    /// a regular file
    File,
    /// a symbolic link, with its target
    Link(String),
    /// a device, FIFO or socket
    Special,
}

/// The form of an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// the file system, in a partition or alone
    pub file_system: FileSystem,
    /// its compression, where it has one
    pub compression: Option<&'static str>,
}

impl Content {
    /// Whether the rules read the content of a file.
    pub(super) fn wants_text(path: &Utf8Path) -> bool {
        path.parent() == Some(Utf8Path::new(RELEASES))
            || UNITS.iter().chain(&OTHER_TEXTS).any(|directory| path.starts_with(directory))
    }

    /// Whether the rules read the first bytes of a file.
    pub(super) fn wants_head(path: &Utf8Path) -> bool {
        PROGRAMS.iter().any(|directory| path.parent() == Some(Utf8Path::new(directory)))
    }

    /// The file of a path, without following a link at its end.
    pub(super) fn get(&self, path: impl AsRef<Utf8Path>) -> Option<&Entry> {
        self.entries.get(path.as_ref())
    }

    /// Whether a path is a regular file.
    pub(super) fn is_file(&self, path: impl AsRef<Utf8Path>) -> bool {
        self.get(path).is_some_and(|entry| entry.kind == Kind::File)
    }

    /// The path that a path leads to when all links are followed within the extension, whether it exists
    /// there or not. Nothing is returned for a loop.
    pub(super) fn resolve(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..MAXIMUM_LINKS {
            let link = path.ancestors().collect::<Vec<_>>().into_iter().rev().find_map(|parent| {
                match self.get(parent).map(|entry| &entry.kind) {
                    Some(Kind::Link(target)) => Some((parent.to_owned(), target)),
                    _ => None,
                }
            });
            let Some((link, target)) = link else { return Some(path) };
            let rest = path.strip_prefix(&link).unwrap_or(Utf8Path::new("")).to_owned();
            let start = link.parent().unwrap_or(Utf8Path::new(""));
            path = normal(&start.join(target).join(rest));
        }
        None
    }

    /// The units and drop-ins with their texts, and the path below the directory of units.
    pub(crate) fn units(&self) -> impl Iterator<Item = (&Utf8Path, &Utf8Path, &str)> {
        self.texts.iter().filter_map(|(path, text)| {
            let below = UNITS.iter().find_map(|directory| path.strip_prefix(directory).ok())?;
            Some((path.as_path(), below, text.as_str()))
        })
    }

    /// The unit files and their names, without drop-ins.
    pub(crate) fn unit_files(&self) -> impl Iterator<Item = (&Utf8Path, &str)> {
        self.entries.iter().filter_map(|(path, entry)| {
            let name = path.file_name()?;
            let is_below = UNITS.iter().any(|directory| path.parent() == Some(Utf8Path::new(directory)));
            (is_below && is_unit(name) && entry.kind != Kind::Directory).then_some((path.as_path(), name))
        })
    }

    /// The unit and the kind of a directory with links, such as `multi-user.target` and `wants`, for the path
    /// of a link.
    pub(crate) fn link_directory(path: &Utf8Path) -> Option<(&str, &str)> {
        let below = UNITS.iter().find_map(|directory| path.strip_prefix(directory).ok())?;
        let (unit, kind) = below.parent()?.as_str().rsplit_once('.')?;
        matches!(kind, "wants" | "requires" | "upholds").then_some((unit, kind))
    }

    /// The fields of the extension-release file that systemd reads, if there is one.
    pub fn release(&self) -> Option<OsRelease> {
        Some(release_text::parse(self.texts.get(&self.release_path())?))
    }

    /// The path of the extension-release file that systemd reads, whether it exists or not.
    pub(super) fn release_path(&self) -> Utf8PathBuf {
        let own = Utf8Path::new(RELEASES).join(format!("extension-release.{}", self.name));
        match self.loose_releases.as_slice() {
            [only] if self.get(&own).is_none() => only.clone(),
            _ => own,
        }
    }

    /// The files as a tree, for comparisons with other extensions.
    pub fn tree(&self) -> BaseTree {
        BaseTree::of(self.entries.iter().filter_map(|(path, entry)| {
            let node = match &entry.kind {
                Kind::Directory => BaseNode::Directory,
                Kind::File => BaseNode::File,
                Kind::Link(target) => BaseNode::Link(target.into()),
                Kind::Special => return None,
            };
            Some((path.clone(), node))
        }))
    }
}

/// Content for tests of rules.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    impl Content {
        /// Content from lines `MODE OWNER PATH`, `MODE OWNER PATH -> TARGET` and, for directories,
        /// `MODE OWNER PATH/`. Directories above are added with mode 0755.
        pub(crate) fn of(lines: &[&str]) -> Self {
            let mut content = Self { name: "tool".to_owned(), ..Self::default() };
            for line in lines {
                let mut fields = line.splitn(3, ' ');
                let mut next = || fields.next().expect("three fields");
                let mode = u32::from_str_radix(next(), 8).expect("octal");
                let owner: u32 = next().parse().expect("a number");
                let rest = next();
                let (path, kind) = match rest.split_once(" -> ") {
                    Some((path, target)) => (path, Kind::Link(target.to_owned())),
                    None => match rest.strip_suffix('/') {
                        Some(path) => (path, Kind::Directory),
                        None => (rest, Kind::File),
                    },
                };
                content.add_parents(Utf8Path::new(path));
                let entry = Entry { kind, mode, owner: Some((owner, owner)) };
                content.entries.insert(path.into(), entry);
            }
            content
        }

        /// The same with a file of mode 0644 and its text.
        pub(crate) fn with_text(mut self, path: &str, text: &str) -> Self {
            self.add_parents(Utf8Path::new(path));
            let entry = Entry { kind: Kind::File, mode: 0o644, owner: Some((0, 0)) };
            self.entries.entry(path.into()).or_insert(entry);
            if Self::wants_text(Utf8Path::new(path)) {
                self.texts.insert(path.into(), text.to_owned());
            }
            if Self::wants_head(Utf8Path::new(path)) {
                self.heads.insert(path.into(), text.as_bytes().to_owned());
            }
            self
        }

        fn add_parents(&mut self, path: &Utf8Path) {
            for parent in path.ancestors().skip(1).filter(|parent| !parent.as_str().is_empty()) {
                let entry = Entry { kind: Kind::Directory, mode: 0o755, owner: Some((0, 0)) };
                self.entries.entry(parent.to_owned()).or_insert(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_within_the_extension() {
        let content = Content::of(&[
            "777 0 usr/lib/extension-release.d/extension-release.a -> ../real",
            "644 0 usr/lib/real",
            "777 0 usr/b -> /usr/lib",
            "777 0 usr/loop -> loop",
        ]);
        let resolve = |path| content.resolve(Utf8Path::new(path)).map(Utf8PathBuf::into_string);
        let release = "usr/lib/extension-release.d/extension-release.a";
        assert_eq!(resolve(release).as_deref(), Some("usr/lib/real"));
        assert_eq!(resolve("usr/b/real").as_deref(), Some("usr/lib/real"));
        assert_eq!(resolve("usr/none").as_deref(), Some("usr/none"));
        assert_eq!(resolve("usr/loop/x"), None);
    }
}
