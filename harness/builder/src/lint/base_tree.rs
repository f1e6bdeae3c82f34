// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::digest;

use crate::member::merge_usr;

/// The files of a base or an extension, by paths relative to its root.
///
/// The list is complete when it was read from a list of contents. Otherwise it has some links only, and other
/// files may exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseTree {
    nodes: BTreeMap<Utf8PathBuf, BaseNode>,
    /// modes and owners of directories
    directories: BTreeMap<Utf8PathBuf, Directory>,
    complete: bool,
    digest: String,
}

/// The type of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseNode {
    /// a directory
    Directory,
    /// a file
    File,
    /// a link, with its target
    Link(Utf8PathBuf),
}

/// Mode and owner of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) mode: u32,
    /// user and group; absent for names other than root
    pub(super) owner: Option<(u32, u32)>,
}

impl BaseTree {
    /// A tree without known files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses a list of contents, which Flatcar publishes with each image and the builder writes for each
    /// extension: `find -printf '%M %2n %-7u %-7g %7s %TY-%Tm-%Td %TH:%TM ./%P -> %l\n'`.
    /// Lines of another format are ignored.
    pub fn parse(contents: &str) -> Self {
        let (mut nodes, mut directories) = (BTreeMap::new(), BTreeMap::new());
        for line in contents.lines() {
            let Some((head, name)) = line.split_once(" ./") else { continue };
            let node = match head.bytes().next() {
                Some(b'd') => {
                    directories.extend(directory(head).map(|found| (Utf8PathBuf::from(name), found)));
                    BaseNode::Directory
                }
                Some(b'-') => BaseNode::File,
                Some(b'l') => {
                    let Some((path, target)) = name.split_once(" -> ") else { continue };
                    nodes.insert(Utf8PathBuf::from(path), BaseNode::Link(target.into()));
                    continue;
                }
                _ => continue,
            };
            nodes.insert(Utf8PathBuf::from(name), node);
        }
        let digest = digest::sha256(contents);
        Self { complete: !nodes.is_empty(), nodes, directories, digest }
    }

    /// A complete tree from its nodes.
    pub(super) fn of(nodes: impl Iterator<Item = (Utf8PathBuf, BaseNode)>) -> Self {
        Self { nodes: nodes.collect(), complete: true, ..Self::default() }
    }

    /// Mode and owner of a directory, where they are known.
    pub(super) fn directory(&self, path: &Utf8Path) -> Option<Directory> {
        self.directories.get(path).copied()
    }

    /// The versions of the kernels that have modules.
    pub(super) fn kernels(&self) -> Vec<&str> {
        let parent = Some(Utf8Path::new("usr/lib/modules"));
        let directories = self.nodes.iter().filter(|(_, node)| **node == BaseNode::Directory);
        let kernels = directories.filter(|(path, _)| path.parent() == parent);
        kernels.filter_map(|(path, _)| path.file_name()).collect()
    }

    /// Whether it has a unit, in any of the directories that systemd reads.
    pub(super) fn has_unit(&self, name: &str) -> bool {
        self.nodes.keys().any(|path| {
            path.file_name() == Some(name)
                && path.parent().is_some_and(|directory| directory.ends_with("systemd/system"))
        })
    }

    /// Whether one of its targets starts a unit through a link in a directory such as `.wants`.
    pub(super) fn starts(&self, name: &str) -> bool {
        self.nodes.keys().any(|path| {
            let kind = path.parent().and_then(Utf8Path::extension);
            path.file_name() == Some(name) && matches!(kind, Some("wants" | "requires" | "upholds"))
        })
    }

    /// The type of a path, if it is known.
    pub fn get(&self, path: &Utf8Path) -> Option<&BaseNode> {
        self.nodes.get(path)
    }

    /// Whether all files are known.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether no file is known.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All files and links.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Utf8Path, &BaseNode)> {
        let nodes = self.nodes.iter().filter(|(_, node)| **node != BaseNode::Directory);
        nodes.map(|(path, node)| (path.as_path(), node))
    }

    /// A key that changes with the list.
    pub(crate) fn key(&self) -> &str {
        &self.digest
    }

    /// Whether a path may exist, directly or through links of directories. Unknown paths may exist where the
    /// list is not complete.
    pub(super) fn may_have(&self, path: &Utf8Path) -> bool {
        let has = |path| self.resolve(path).is_none_or(|path| self.nodes.contains_key(&path));
        !self.complete || has(&merge_usr(path))
    }

    /// The path that a path leads to when links of directories are followed.
    pub(super) fn resolve(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..16 {
            let links = path.ancestors().skip(1).filter_map(|parent| match self.nodes.get(parent) {
                Some(BaseNode::Link(target)) => Some((parent, target)),
                _ => None,
            });
            let Some((link, target)) = links.last() else { return Some(path) };
            let rest = path.strip_prefix(link).unwrap_or(&path);
            let start = link.parent().unwrap_or(Utf8Path::new(""));
            path = normal(&start.join(target).join(rest));
        }
        None
    }
}

/// Mode and owner of a directory in a line of a list of contents.
fn directory(head: &str) -> Option<Directory> {
    let mut fields = head.split_whitespace();
    let mode = mode(fields.next()?)?;
    let mut id = || match fields.next()? {
        "root" => Some(0),
        id => id.parse().ok(),
    };
    // The number of links is between.
    id();
    let owner = id().zip(id());
    Some(Directory { mode, owner })
}

/// The permission bits of a mode as ls(1) prints it.
fn mode(text: &str) -> Option<u32> {
    let mut letters = text.bytes().skip(1);
    let mut mode = 0;
    for (shift, special) in [(6, 0o4000), (3, 0o2000), (0, 0o1000)] {
        let mut bits = 0;
        bits |= u32::from(letters.next()? == b'r') << 2;
        bits |= u32::from(letters.next()? == b'w') << 1;
        let execute = letters.next()?;
        bits |= u32::from(matches!(execute, b'x' | b's' | b't'));
        mode |= bits << shift;
        mode |= if execute.eq_ignore_ascii_case(&b's') || execute.eq_ignore_ascii_case(&b't') {
            special
        } else {
            0
        };
    }
    Some(mode)
}

/// A path relative to the root, without `.` and `..`.
pub(super) fn normal(path: &Utf8Path) -> Utf8PathBuf {
    let mut plain = Utf8PathBuf::new();
    for part in path.as_str().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

impl<const N: usize> From<[(Utf8PathBuf, Utf8PathBuf); N]> for BaseTree {
    fn from(links: [(Utf8PathBuf, Utf8PathBuf); N]) -> Self {
        let digest = digest::sha256(format!("{links:?}"));
        let nodes = links.into_iter().map(|(path, target)| (path, BaseNode::Link(target))).collect();
        Self { nodes, digest, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENTS: &str = "\
drwxr-xr-x 15 root    root       4096 2025-01-01 00:00 ./usr
drwxr-xr-x  2 root    root       4096 2025-01-01 00:00 ./usr/bin
-rwxr-xr-x  1 root    root         10 2025-01-01 00:00 ./usr/bin/odd ./name
lrwxrwxrwx  1 root    root          3 2025-01-01 00:00 ./usr/sbin -> bin
-rwxr-xr-x  1 root    root         10 2025-01-01 00:00 ./usr/bin/bash
";

    #[test]
    fn a_list_of_contents_is_parsed() {
        let tree = BaseTree::parse(CONTENTS);
        assert_eq!(tree.get(Utf8Path::new("usr/bin/odd ./name")), Some(&BaseNode::File));
        assert_eq!(tree.get(Utf8Path::new("usr/sbin")), Some(&BaseNode::Link("bin".into())));
        assert!(tree.may_have(Utf8Path::new("usr/sbin/bash")) && tree.may_have(Utf8Path::new("bin/bash")));
        assert!(!tree.may_have(Utf8Path::new("usr/sbin/zsh")));
        assert!(BaseTree::new().may_have(Utf8Path::new("usr/bin/zsh")), "nothing is known");
        let usr = tree.directory(Utf8Path::new("usr"));
        assert_eq!(usr, Some(Directory { mode: 0o755, owner: Some((0, 0)) }));
    }

    #[test]
    fn modes_are_read_as_ls_prints_them() {
        for (text, expected) in
            [("drwxr-xr-x", 0o755), ("drwx------", 0o700), ("drwxrwxrwt", 0o1777), ("drwsr-Sr-T", 0o7744)]
        {
            assert_eq!(mode(text), Some(expected), "{text}");
        }
        assert_eq!(mode("drwx"), None);
    }

    #[test]
    fn kernels_and_units_are_found() {
        let tree = BaseTree::parse(
            "drwxr ./usr/lib/modules\ndrwxr ./usr/lib/modules/6.6.54-flatcar\n-rw ./usr/lib/systemd/system/a.service\n\
             lrwx ./usr/lib/systemd/system/b.target.wants/a.service -> ../a.service\n",
        );
        assert_eq!(tree.kernels(), ["6.6.54-flatcar"]);
        assert!(tree.has_unit("a.service") && tree.starts("a.service"));
        assert!(!tree.has_unit("b.service") && !tree.starts("b.service"));
    }
}
