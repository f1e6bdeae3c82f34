// SPDX-License-Identifier: Apache-2.0
//! Parses the listing of a btrfs that `btrfs inspect-internal dump-tree` prints.
use std::collections::HashMap;
use std::path::Path;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::error::{FileSystemError, NameFault};
use super::list::{DIRECTORY, ExtendedAttribute, KIND, LINK, REGULAR, check_names, escape};
use super::owners::FileOwner;

/// The attributes of files that `btrfs restore` does not restore.
#[derive(Debug, Default)]
pub(super) struct NotRestored {
    /// set-id files with their permission bits
    pub(super) set_id: Vec<(Utf8PathBuf, u32)>,
    /// the extended attributes of all files
    pub(super) attributes: Vec<ExtendedAttribute>,
    /// files and directories that do not belong to root
    pub(super) owners: Vec<FileOwner>,
    /// FIFOs, sockets and devices, each with its mode and device number
    pub(super) special: Vec<(Utf8PathBuf, u32, u64)>,
}

/// The inode of the root directory (`BTRFS_FIRST_FREE_OBJECTID`).
const BTRFS_ROOT: u64 = 256;

/// Checks the names in all directories of a printed tree.
///
/// dump-tree prints a name unescaped after its length. A name with a line break appears shorter than its
/// length and is refused, so that no other line is taken for a name.
///
/// # Errors
/// A name leads out of its directory or appears twice, or the tree contains a subvolume.
pub(super) fn check(tree: &[u8]) -> Result<(), FileSystemError> {
    let mut names = HashMap::<u64, Vec<&[u8]>>::new();
    let (mut key, mut length) = (None, None);
    for line in tree.split(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        if let Some(found) = item_key(&text) {
            (key, length) = (Some((found.0, found.1.to_owned())), None);
        }
        let Some((inode, "DIR_INDEX")) = key.as_ref().map(|(inode, kind)| (*inode, kind.as_str())) else {
            continue;
        };
        let text = text.trim_start();
        if text.starts_with("location key (") && text.contains(" ROOT_ITEM ") {
            return Err(FileSystemError::Incomplete("subvolumes are not supported".to_owned()));
        } else if let Some((_, digits)) = text.split_once(" name_len ") {
            length = digits.trim().parse::<usize>().ok();
        } else if let (Some(name), Some(expected)) = (line.strip_prefix(b"\t\tname: "), length.take()) {
            if name.len() != expected {
                let (directory, name) = (format!("inode {inode}"), escape(name));
                return Err(FileSystemError::Name { directory, name, fault: NameFault::LineBreak });
            }
            names.entry(inode).or_default().push(name);
        }
    }
    names.iter().try_for_each(|(inode, names)| {
        check_names(Path::new(&format!("inode {inode}")), names.iter().copied())
    })
}

/// Parses the first line of an item: `item 4 key (257 INODE_ITEM 0) itemoff ..`.
fn item_key(line: &str) -> Option<(u64, &str, Option<u64>)> {
    let (_, rest) = line.trim_start().strip_prefix("item ")?.split_once("key (")?;
    let mut parts = rest.split([' ', ')']);
    let (inode, kind) = (parts.next()?.parse().ok()?, parts.next()?);
    Some((inode, kind, parts.next().and_then(|number| number.parse().ok())))
}

/// Parses a printed tree.
///
/// Keys (`key (257 INODE_ITEM 0)`, `key (257 INODE_REF 256)`, `key (257 XATTR_ITEM 1)`) precede lines
/// about them (`mode 104755`, `name: probe`). Inodes whose names do not lead to the root are left out.
pub(super) fn read(tree: &str) -> NotRestored {
    let mut names = HashMap::<u64, Vec<(u64, &str)>>::new();
    let (mut modes, mut attributes, mut owners) = (Vec::new(), Vec::new(), Vec::new());
    let mut special = Vec::new();
    let mut key = None;
    for line in tree.lines() {
        key = item_key(line).or(key);
        match key {
            Some((inode, "INODE_ITEM", _)) => {
                let mode = line.split(" mode ").nth(1).and_then(|rest| rest.split_whitespace().next());
                let mode = mode.and_then(|digits| u32::from_str_radix(digits, 8).ok());
                let set_id = mode.filter(|mode| mode & 0o170_000 == 0o100_000 && mode & 0o6000 != 0);
                modes.extend(set_id.map(|mode| (inode, mode & 0o7777)));
                let number = |name: &str| {
                    let (_, rest) = line.split_once(name)?;
                    rest.split_whitespace().next()?.parse::<u32>().ok()
                };
                if let Some(mode) = mode.filter(|mode| !matches!(mode & KIND, DIRECTORY | REGULAR | LINK)) {
                    special.push((inode, mode, u64::from(number(" rdev ").unwrap_or(u32::MAX))));
                }
                let has_owner = mode.is_some_and(|mode| matches!(mode & KIND, DIRECTORY | REGULAR));
                if let (true, Some(uid), Some(gid)) = (has_owner, number(" uid "), number(" gid "))
                    && (uid, gid) != (0, 0)
                {
                    owners.push((inode, uid, gid));
                }
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
    let mut found = NotRestored::default();
    for (inode, mode) in modes {
        found.set_id.extend(paths(inode, &names).into_iter().map(|path| (path, mode)));
    }
    for (inode, name) in attributes {
        let attribute = |path| ExtendedAttribute { path, name: name.to_owned() };
        found.attributes.extend(paths(inode, &names).into_iter().map(attribute));
    }
    for (inode, mode, device) in special {
        found.special.extend(paths(inode, &names).into_iter().map(|path| (path, mode, device)));
    }
    for (inode, uid, gid) in owners {
        found.owners.extend(paths(inode, &names).into_iter().map(|path| FileOwner { path, uid, gid }));
    }
    found
}

/// Returns every path of an inode.
fn paths(inode: u64, names: &HashMap<u64, Vec<(u64, &str)>>) -> Vec<Utf8PathBuf> {
    let own = names.get(&inode).map(Vec::as_slice).unwrap_or_default();
    own.iter().filter_map(|(parent, name)| path(*parent, name, names)).collect()
}

/// Returns the path of a name in a directory.
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
\t\tblock group 0 mode 104755 links 1 uid 6 gid 12 rdev 0
\titem 7 key (258 INODE_REF 257) itemoff 1 itemsize 11
\t\tindex 2 namelen 1 name: a b
\titem 8 key (259 INODE_ITEM 0) itemoff 1 itemsize 160
\t\tblock group 0 mode 104755 links 1 uid 0 gid 0 rdev 0
\titem 9 key (259 INODE_REF 256) itemoff 1 itemsize 12
\t\tindex 2 namelen 2 name: ../x
\titem 10 key (258 INODE_REF 256) itemoff 1 itemsize 11
\t\tindex 2 namelen 1 name: c
\titem 12 key (260 INODE_ITEM 0) itemoff 1 itemsize 160
\t\tblock group 0 mode 10644 links 1 uid 0 gid 0 rdev 0
\titem 13 key (260 INODE_REF 257) itemoff 1 itemsize 11
\t\tindex 3 namelen 4 name: pipe
\titem 11 key (257 XATTR_ITEM 3451493671) itemoff 15602 itemsize 37
\t\tlocation key (0 UNKNOWN.0 0) type XATTR
\t\ttransid 0 data_len 1 name_len 6
\t\tname: user.o
\t\tdata y
";

    #[test]
    fn set_id_files_and_attributes_are_found_in_a_tree_and_none_outside() {
        let found = read(TREE);
        assert_eq!(found.set_id, [("usr/a b".into(), 0o4755), ("c".into(), 0o4755)]);
        assert_eq!(found.special, [("usr/pipe".into(), 0o10_644, 0)]);
        let owner = |path: &str| FileOwner { path: path.into(), uid: 6, gid: 12 };
        assert_eq!(found.owners, [owner("usr/a b"), owner("c")]);
        assert_eq!(found.attributes, [ExtendedAttribute { path: "usr".into(), name: "user.o".to_owned() }]);
    }

    #[test]
    fn names_in_directories_are_checked() {
        let entry = |number: u32, location: &str, length: usize, name: &str| {
            format!(
                "\titem {number} key (256 DIR_INDEX {number}) itemoff 1 itemsize 33\n\
                 \t\tlocation key ({location} 0) type FILE\n\
                 \t\ttransid 0 data_len 0 name_len {length}\n\t\tname: {name}\n"
            )
        };
        let checked = |lines: &[String]| check(lines.concat().as_bytes()).map_err(|error| error.to_string());
        let inode = |number, length, name| entry(number, "257 INODE_ITEM", length, name);
        assert_eq!(checked(&[inode(2, 3, "usr"), inode(3, 4, " a b")]), Ok(()));
        for (lines, message) in [
            (vec![inode(2, 4, "../x")], "contains the name `../x`, which leads out of the directory"),
            (vec![inode(2, 3, "usr"), inode(3, 3, "usr")], "contains the name `usr`, which appears twice"),
            (vec![inode(2, 9, "a\nname: b")], "contains the name `a`, which contains a line break"),
            (vec![entry(2, "257 ROOT_ITEM", 3, "usr")], "subvolumes are not supported"),
        ] {
            let error = checked(&lines).expect_err(message);
            assert!(error.ends_with(message), "{error}");
        }
    }
}
