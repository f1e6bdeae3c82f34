// SPDX-License-Identifier: Apache-2.0
//! Listings of a tree in the format of `find -printf` in Flatcar's SDK (`write_contents` and
//! `write_contents_with_technical_details` in its `build_library`).
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use crate::owner::Owner;
use crate::stage::{Node, NodeKind, Staged};

/// The size of a directory in bytes. Formats differ; this is the one of most file systems.
const DIRECTORY_SIZE: u64 = 4096;

/// The files of a tree with their metadata, kept while the tree is packed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    entries: Vec<Entry>,
    epoch: u32,
}

#[derive(Debug, Clone)]
struct Entry {
    path: Utf8PathBuf,
    kind: NodeKind,
    mode: u32,
    owner: Owner,
    links: u64,
    inode: usize,
}

impl Listing {
    /// Lists a staged tree with its root.
    ///
    /// # Errors
    /// A file cannot be examined.
    pub(crate) fn of(staged: &Staged, epoch: u32) -> Result<Self, FileError> {
        let mut below: BTreeMap<&Utf8Path, u64> = BTreeMap::new();
        for (path, _) in staged.nodes().filter(|(_, node)| node.kind == NodeKind::Directory) {
            *below.entry(path.parent().unwrap_or(Utf8Path::new(""))).or_default() += 1;
        }
        let mut inodes: BTreeMap<u64, usize> = BTreeMap::new();
        let root = (Utf8Path::new(""), &NodeKind::Directory, 0o755, Owner::ROOT);
        let nodes = staged.nodes();
        let nodes = nodes.map(|(path, Node { kind, mode, owner, .. })| (path, kind, *mode, *owner));
        let mut entries = Vec::new();
        for (path, kind, mode, owner) in std::iter::once(root).chain(nodes) {
            let metadata = fs::symlink_metadata(staged.root().join(path))?;
            let next = inodes.len() + 1;
            let inode = *inodes.entry(metadata.ino()).or_insert(next);
            let links = match kind {
                // `.`, its name in the parent directory, and `..` of every directory inside.
                NodeKind::Directory => 2 + below.get(path).copied().unwrap_or(0),
                NodeKind::File { .. } => metadata.nlink(),
                NodeKind::Link { .. } => 1,
            };
            entries.push(Entry { path: path.to_owned(), kind: kind.clone(), mode, owner, links, inode });
        }
        Ok(Self { entries, epoch })
    }

    /// `%M %2n %-7u %-7g %7s %TY-%Tm-%Td %TH:%TM ./%P -> %l`, sorted by path.
    pub(super) fn contents(&self) -> String {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(self.epoch));
        let time = humantime::format_rfc3339_seconds(time).to_string();
        let time = format!("{} {}", &time[..10], &time[11..16]);
        let mut lines: Vec<(String, String)> = self
            .entries
            .iter()
            .map(|entry| {
                let Entry { path, links, .. } = entry;
                let mut name = format!("./{path}");
                if let NodeKind::Link { target } = &entry.kind {
                    let _ = write!(name, " -> {target}");
                }
                let owner = format!("{:<7} {:<7}", name_of(entry.owner.uid), name_of(entry.owner.gid));
                let line = format!("{} {links:>2} {owner} {:>7} {time} {name}", mode(entry), size(entry));
                (name, line)
            })
            .collect();
        lines.sort();
        lines.into_iter().map(|(_, line)| line + "\n").collect()
    }

    /// `%M %D %i %n %s ./%P`. There is one device; inodes are numbered in the order of paths, so
    /// that hard links can be told from separate files.
    pub(super) fn technical(&self) -> String {
        let line = |entry: &Entry| {
            let Entry { path, links, inode, .. } = entry;
            format!("{} 0 {inode} {links} {} ./{path}\n", mode(entry), size(entry))
        };
        self.entries.iter().map(line).collect()
    }

    /// Programs that run with the rights of their owner or group, relative to the root.
    pub(crate) fn set_id(&self) -> Vec<Utf8PathBuf> {
        let set = |entry: &&Entry| matches!(entry.kind, NodeKind::File { .. }) && entry.mode & 0o6000 != 0;
        self.entries.iter().filter(set).map(|entry| entry.path.clone()).collect()
    }
}

/// A user or group as find(1) prints it where only root has a name.
fn name_of(number: u32) -> String {
    if number == 0 { "root".to_owned() } else { number.to_string() }
}

fn size(entry: &Entry) -> u64 {
    match &entry.kind {
        NodeKind::Directory => DIRECTORY_SIZE,
        NodeKind::File { size } => *size,
        NodeKind::Link { target } => target.len() as u64,
    }
}

/// The type and mode in the format of `ls`.
fn mode(entry: &Entry) -> String {
    let kind = match &entry.kind {
        NodeKind::Directory => 'd',
        NodeKind::File { .. } => '-',
        NodeKind::Link { .. } => 'l',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (entry.mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use loadgauge_host::{CommandExt as _, Tool};

    use super::*;

    /// A settled tree with one file of each kind that a listing distinguishes.
    fn staged() -> Staged {
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let origin: Arc<str> = Arc::from("a test");
        for (path, mode) in
            [("usr/bin/su", 0o4755), ("usr/bin/at", 0o6644), ("usr/bin-b", 0o640), ("usr/bin/a b", 0o755)]
        {
            staged.put_file(Utf8Path::new(path), mode, &mut path.as_bytes(), &origin).expect("a file");
        }
        staged.put_directory(Utf8Path::new("opt/sticky"), 0o1777, &origin).expect("a directory");
        staged.put_hard_link(Utf8Path::new("usr/two"), Utf8Path::new("usr/bin/su"), &origin).expect("a name");
        // A number that has no name on the host.
        staged.set_owner(Utf8Path::new("usr/bin/at"), Owner { uid: 0, gid: 54_321 });
        staged.put_link(Utf8Path::new("usr/link"), "bin/su", &origin).expect("a link");
        staged.settle(1_704_067_260).expect("settled");
        staged
    }

    #[test]
    fn the_listing_is_that_of_find() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: find names the owners of the files, and only root's are root's");
            return;
        }
        let staged = staged();
        let script = "find . -printf '%M %2n %-7u %-7g %7s %TY-%Tm-%Td %TH:%TM ./%P -> %l\\n' | \
                      sort --key=8 | sed 's/ -> $//'";
        let output = Tool::find("sh")
            .expect("a shell")
            .command()
            .args(["-c", script])
            .current_dir(staged.root())
            .env("LC_ALL", "C")
            .run()
            .expect("it runs");
        // Sizes of directories are up to the file system of the host.
        let masked = |text: &str| -> Vec<String> {
            let mask = |line: &str| {
                if line.starts_with('d') {
                    format!("{}{}", &line[..30], &line[38..])
                } else {
                    line.to_owned()
                }
            };
            text.lines().map(mask).collect()
        };
        let theirs = String::from_utf8(output.stdout).expect("UTF-8");
        let listing = Listing::of(&staged, 1_704_067_260).expect("listed");
        assert_eq!(masked(&listing.contents()), masked(&theirs));
    }

    #[test]
    fn hard_links_share_an_inode_number() {
        let listing = Listing::of(&staged(), 0).expect("listed");
        insta::assert_snapshot!(listing.technical());
        assert_eq!(listing.set_id(), ["usr/bin/at", "usr/bin/su", "usr/two"]);
    }
}
