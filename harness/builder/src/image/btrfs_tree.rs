// SPDX-License-Identifier: Apache-2.0
//! What `btrfs inspect-internal dump-tree` tells of files, that `btrfs restore` does not restore.
use std::collections::HashMap;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::marks::Mark;

/// Set-id files with their permission bits, and the attributes of all files.
type Found = (Vec<(Utf8PathBuf, u32)>, Vec<Mark>);

/// The inode of the root directory (`BTRFS_FIRST_FREE_OBJECTID`).
const BTRFS_ROOT: u64 = 256;

/// Reads a tree as btrfs prints it: lines with keys (`key (257 INODE_ITEM 0)`, `key (257 INODE_REF 256)`,
/// `key (257 XATTR_ITEM 1)`), and lines about them (`mode 104755`, `name: probe`). Names lead up to the
/// root; what does not is passed over.
pub(super) fn read(tree: &str) -> Found {
    let mut names = HashMap::<u64, Vec<(u64, &str)>>::new();
    let (mut modes, mut attributes) = (Vec::new(), Vec::new());
    let mut key = None;
    for line in tree.lines() {
        let words = line.trim_start().strip_prefix("item ").and_then(|rest| rest.split_once("key ("));
        if let Some((_, rest)) = words {
            let mut parts = rest.split([' ', ')']);
            key = parts.next().and_then(|inode| inode.parse::<u64>().ok()).zip(parts.next()).map(
                |(inode, kind)| (inode, kind, parts.next().and_then(|number| number.parse::<u64>().ok())),
            );
        }
        match key {
            Some((inode, "INODE_ITEM", _)) => {
                let mode = line.split(" mode ").nth(1).and_then(|rest| rest.split_whitespace().next());
                let mode = mode.and_then(|digits| u32::from_str_radix(digits, 8).ok());
                let set_id = mode.filter(|mode| mode & 0o170_000 == 0o100_000 && mode & 0o6000 != 0);
                modes.extend(set_id.map(|mode| (inode, mode & 0o7777)));
            }
            Some((inode, "INODE_REF", Some(parent))) => {
                let name = line.split_once(" name: ").map(|(_, name)| name);
                names.entry(inode).or_default().extend(name.map(|name| (parent, name)));
            }
            Some((inode, "XATTR_ITEM", _)) => {
                let name = line.trim_start().strip_prefix("name: ");
                attributes.extend(name.map(|name| (inode, name)));
            }
            _ => {}
        }
    }
    let set_id = modes.into_iter().flat_map(|(inode, mode)| {
        paths(inode, &names).into_iter().map(move |path| (path, mode)).collect::<Vec<_>>()
    });
    let set_id = set_id.collect();
    let marks = attributes.into_iter().flat_map(|(inode, name)| {
        let mark = |path| Mark { path, name: name.to_owned() };
        paths(inode, &names).into_iter().map(mark).collect::<Vec<_>>()
    });
    (set_id, marks.collect())
}

/// Every path of an inode.
fn paths(inode: u64, names: &HashMap<u64, Vec<(u64, &str)>>) -> Vec<Utf8PathBuf> {
    let own = names.get(&inode).map(Vec::as_slice).unwrap_or_default();
    own.iter().filter_map(|(parent, name)| path(*parent, name, names)).collect()
}

/// The path of a name in a directory.
fn path(parent: u64, name: &str, names: &HashMap<u64, Vec<(u64, &str)>>) -> Option<Utf8PathBuf> {
    let (mut inode, mut path) = (parent, Utf8PathBuf::from(name));
    for _ in 0..256 {
        if inode == BTRFS_ROOT {
            let plain = path.components().all(|part| matches!(part, Utf8Component::Normal(_)));
            return plain.then_some(path);
        }
        let (parent, name) = names.get(&inode)?.first()?;
        path = Utf8Path::new(name).join(&path);
        inode = *parent;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
\titem 0 key (256 INODE_ITEM 0) itemoff 16123 itemsize 160
\t\tblock group 0 mode 40755 links 1 uid 0 gid 0 rdev 0
\titem 1 key (256 INODE_REF 256) itemoff 16111 itemsize 12
\t\tindex 0 namelen 2 name: ..
\titem 4 key (257 INODE_ITEM 0) itemoff 1 itemsize 160
\t\tblock group 0 mode 40755 links 1 uid 0 gid 0 rdev 0
\titem 5 key (257 INODE_REF 256) itemoff 1 itemsize 13
\t\tindex 2 namelen 3 name: usr
\titem 6 key (258 INODE_ITEM 0) itemoff 1 itemsize 160
\t\tblock group 0 mode 104755 links 1 uid 0 gid 0 rdev 0
\titem 7 key (258 INODE_REF 257) itemoff 1 itemsize 11
\t\tindex 2 namelen 1 name: a b
\titem 8 key (259 INODE_ITEM 0) itemoff 1 itemsize 160
\t\tblock group 0 mode 104755 links 1 uid 0 gid 0 rdev 0
\titem 9 key (259 INODE_REF 256) itemoff 1 itemsize 12
\t\tindex 2 namelen 2 name: ../x
\titem 10 key (258 INODE_REF 256) itemoff 1 itemsize 11
\t\tindex 2 namelen 1 name: c
\titem 11 key (257 XATTR_ITEM 3451493671) itemoff 15602 itemsize 37
\t\tlocation key (0 UNKNOWN.0 0) type XATTR
\t\ttransid 0 data_len 1 name_len 6
\t\tname: user.o
\t\tdata y
";

    #[test]
    fn set_id_files_and_attributes_are_found_in_a_tree_and_none_outside() {
        let (set_id, marks) = read(TREE);
        assert_eq!(set_id, [("usr/a b".into(), 0o4755), ("c".into(), 0o4755)]);
        assert_eq!(marks, [Mark { path: "usr".into(), name: "user.o".to_owned() }]);
    }
}
