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

impl BaseTree {
    /// A tree without known files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses a list of contents, which Flatcar publishes with each image and the builder writes for each
    /// extension: `find -printf '%M %2n %-7u %-7g %7s %TY-%Tm-%Td %TH:%TM ./%P -> %l\n'`.
    /// Lines of another format are ignored.
    pub fn parse(contents: &str) -> Self {
        let mut nodes = BTreeMap::new();
        for line in contents.lines() {
            let Some((head, name)) = line.split_once(" ./") else { continue };
            let node = match head.bytes().next() {
                Some(b'd') => BaseNode::Directory,
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
        Self { complete: !nodes.is_empty(), nodes, digest }
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
        !self.complete || self.resolves(&merge_usr(path), 0)
    }

    fn resolves(&self, path: &Utf8Path, depth: usize) -> bool {
        if depth > 16 {
            return true;
        }
        if self.nodes.contains_key(path) {
            return true;
        }
        let mut links = path.ancestors().skip(1).filter_map(|parent| match self.nodes.get(parent) {
            Some(BaseNode::Link(target)) => Some((parent, target)),
            _ => None,
        });
        let Some((parent, target)) = links.next() else { return false };
        let rest = path.strip_prefix(parent).unwrap_or(path);
        let start = parent.parent().unwrap_or(Utf8Path::new(""));
        let target = if target.is_absolute() { target.clone() } else { start.join(target) };
        self.resolves(&normal(&target.join(rest)), depth + 1)
    }
}

/// A path relative to the root, without `.` and `..`.
fn normal(path: &Utf8Path) -> Utf8PathBuf {
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
        Self { nodes, complete: false, digest }
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
    }
}
