// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::owner::Owner;

/// The size limit of an extension in bytes: far beyond any real one, and small enough to stop a
/// decompression bomb before the disk is full.
const MAXIMUM_SIZE: u64 = 8 << 30;
/// The limit of files, directories and links in an extension.
const MAXIMUM_NODES: usize = 500_000;

/// The tree of an extension before it is packed: file contents in a temporary directory, metadata in
/// memory.
///
/// A file belongs to root unless its source says otherwise ([`Staged::set_owner`]): to drop the owner of a
/// set-id file would give it the rights of root. Paths are relative to the root of the extension. No file
/// is written through a link of an earlier source.
#[derive(Debug)]
pub struct Staged {
    _scratch: tempfile::TempDir,
    root: Utf8PathBuf,
    nodes: BTreeMap<Utf8PathBuf, Node>,
    size: u64,
    takes_etc: bool,
}

/// One file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// its type
    pub kind: NodeKind,
    /// permission bits with set-ID bits; 0777 for a link
    pub mode: u32,
    /// the owning user and group; root for a link, whose owner has no effect
    pub owner: Owner,
    /// its source, for messages: a package, a tree, or the recipe
    pub origin: Arc<str>,
}

/// The type of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// a directory
    Directory,
    /// a regular file
    File {
        /// its size in bytes
        size: u64,
    },
    /// a symbolic link
    Link {
        /// its target
        target: String,
    },
}

/// A file that cannot be added to the tree.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// the path leads through a link
    #[error("`/{path}` would be written through the link `/{link}` of {origin}")]
    ThroughLink {
        /// the file
        path: Utf8PathBuf,
        /// the link
        link: Utf8PathBuf,
        /// the source of the link
        origin: Arc<str>,
    },
    /// the path exists with another type
    #[error("`/{path}` of {new} is {what}, which conflicts with the one of {origin}")]
    Kind {
        /// the path
        path: Utf8PathBuf,
        /// the type of the new file
        what: &'static str,
        /// the source of the new file
        new: Arc<str>,
        /// the source of the existing file
        origin: Arc<str>,
    },
    /// the mode denies the owner access
    #[error("`/{path}` has the mode {mode:04o}, which denies its owner access")]
    Mode {
        /// the file
        path: Utf8PathBuf,
        /// permission bits
        mode: u32,
    },
    /// the extension exceeds a limit
    #[error("the extension exceeds {limit} at `/{path}`")]
    TooLarge {
        /// the file that exceeds it
        path: Utf8PathBuf,
        /// the limit
        limit: &'static str,
    },
}

impl Hint for StageError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            _ => None,
        }
    }
}

type Result<T, E = StageError> = std::result::Result<T, E>;

impl Staged {
    /// An empty tree in a new temporary directory below `parent`.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn new_in(parent: &Utf8Path) -> Result<Self> {
        let fail = |source| FileError::at("create a directory in", parent)(source);
        let scratch = tempfile::Builder::new().prefix(".stage-").tempdir_in(parent).map_err(fail)?;
        let root = Utf8PathBuf::from_path_buf(scratch.path().join("tree"))
            .map_err(|_| fail(io::ErrorKind::InvalidFilename.into()))?;
        fs::create_dir(&root)?;
        Ok(Self { _scratch: scratch, root, nodes: BTreeMap::new(), size: 0, takes_etc: false })
    }

    /// Accepts files in /etc, until they are moved to another directory.
    pub fn take_etc(&mut self) {
        self.takes_etc = true;
    }

    /// Whether the tree accepts a path relative to the root.
    pub fn takes(&self, path: &Utf8Path) -> bool {
        is_kept(path) || (self.takes_etc && path.starts_with(ETC))
    }

    /// The directory with the file contents.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// A new directory beside the tree, for files that are not part of it yet.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub(super) fn scratch(&self, name: &str) -> Result<Utf8PathBuf> {
        let path = self.root.with_file_name(name);
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// All nodes by path; a directory comes before its entries.
    pub fn nodes(&self) -> impl Iterator<Item = (&Utf8Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// The node of a path.
    pub fn get(&self, path: &Utf8Path) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a directory; an existing one keeps its entries, gets the new mode, and belongs to root.
    ///
    /// # Errors
    /// See [`StageError`].
    pub fn put_directory(&mut self, path: &Utf8Path, mode: u32, origin: &Arc<str>) -> Result<()> {
        if mode & 0o700 != 0o700 {
            return Err(StageError::Mode { path: path.to_owned(), mode });
        }
        self.make_parents(path, origin)?;
        if let Some(node) = self.nodes.get_mut(path) {
            if node.kind == NodeKind::Directory {
                (node.mode, node.owner) = (mode, Owner::ROOT);
                return Ok(());
            }
            return Err(conflict(path, "a directory", origin, node));
        }
        let host = self.root.join(path);
        fs::create_dir(&host)?;
        self.insert(path, NodeKind::Directory, mode, origin)
    }

    /// Adds a file, and replaces an existing file or link.
    ///
    /// # Errors
    /// See [`StageError`].
    pub fn put_file(
        &mut self,
        path: &Utf8Path,
        mode: u32,
        contents: &mut dyn Read,
        origin: &Arc<str>,
    ) -> Result<()> {
        if mode & 0o400 == 0 {
            return Err(StageError::Mode { path: path.to_owned(), mode });
        }
        let host = self.make_room(path, "a file", origin)?;
        let mut file = File::create_new(&host).map_err(FileError::at("create", &host))?;
        let allowed = MAXIMUM_SIZE.saturating_sub(self.size);
        let size =
            io::copy(&mut contents.take(allowed + 1), &mut file).map_err(FileError::at("write", &host))?;
        if size > allowed {
            return Err(StageError::TooLarge { path: path.to_owned(), limit: "8 GiB" });
        }
        self.size += size;
        self.insert(path, NodeKind::File { size }, mode, origin)
    }

    /// Adds a symbolic link, and replaces an existing file or link.
    ///
    /// # Errors
    /// See [`StageError`].
    pub fn put_link(&mut self, path: &Utf8Path, target: &str, origin: &Arc<str>) -> Result<()> {
        let host = self.make_room(path, "a link", origin)?;
        fs::symlink(target, &host)?;
        self.insert(path, NodeKind::Link { target: target.to_owned() }, 0o777, origin)
    }

    /// Gives a file or directory to a user and a group. A file with several names must get the same owner
    /// for each.
    pub fn set_owner(&mut self, path: &Utf8Path, owner: Owner) {
        if let Some(node) = self.nodes.get_mut(path)
            && !matches!(node.kind, NodeKind::Link { .. })
        {
            node.owner = owner;
        }
    }

    /// The files and directories that do not belong to root.
    pub fn not_of_root(&self) -> impl Iterator<Item = (&Utf8Path, &Node)> {
        self.nodes().filter(|(_, node)| !node.owner.is_root())
    }

    /// Adds a hard link to a file of the tree.
    ///
    /// # Errors
    /// See [`StageError`]; there is no such file.
    pub fn put_hard_link(&mut self, path: &Utf8Path, existing: &Utf8Path, origin: &Arc<str>) -> Result<()> {
        let Some(Node { kind: kind @ NodeKind::File { .. }, mode, owner, .. }) =
            self.nodes.get(existing).cloned()
        else {
            return Err(FileError::at("link to", existing)(io::ErrorKind::NotFound.into()).into());
        };
        let host = self.make_room(path, "a file", origin)?;
        fs::hard_link(self.root.join(existing), &host)?;
        self.insert(path, kind, mode, origin)?;
        self.set_owner(path, owner);
        Ok(())
    }

    /// Removes a path with all entries, and returns whether it existed.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove(&mut self, path: &Utf8Path) -> Result<bool> {
        // Paths are ordered by component, so the entries of a directory directly follow it.
        let below: Vec<Utf8PathBuf> = self
            .nodes
            .range(path.to_owned()..)
            .map(|(found, _)| found)
            .take_while(|found| found.starts_with(path))
            .cloned()
            .collect();
        // Entries come after their directories, and are removed first.
        for path in below.iter().rev() {
            let host = self.root.join(path);
            let node = self.nodes.remove(path);
            let removed = match node.map(|node| node.kind) {
                Some(NodeKind::Directory) => fs::remove_dir(&host),
                Some(NodeKind::File { size }) => {
                    self.size = self.size.saturating_sub(size);
                    fs::remove_file(&host)
                }
                _ => fs::remove_file(&host),
            };
            removed?;
        }
        Ok(!below.is_empty())
    }

    /// Moves the entries of a directory into another one, and removes the first.
    ///
    /// # Errors
    /// An entry exists in both.
    pub fn move_contents(&mut self, from: &Utf8Path, to: &Utf8Path, origin: &Arc<str>) -> Result<()> {
        let inside: Vec<Utf8PathBuf> = self
            .nodes
            .keys()
            .filter(|path| path.starts_with(from) && path.as_path() != from)
            .cloned()
            .collect();
        for path in inside {
            let Some(node) = self.nodes.get(&path).cloned() else { continue };
            let target = to.join(path.strip_prefix(from).unwrap_or(&path));
            if node.kind == NodeKind::Directory {
                self.put_directory(&target, node.mode, &node.origin)?;
                self.set_owner(&target, node.owner);
                continue;
            }
            if let Some(there) = self.nodes.get(&target) {
                return Err(conflict(&target, "moved there", &node.origin, there));
            }
            self.make_parents(&target, origin)?;
            let (old, new) = (self.root.join(&path), self.root.join(&target));
            fs::rename(&old, &new)?;
            self.nodes.remove(&path);
            self.nodes.insert(target, node);
        }
        self.remove(from).map(drop)
    }

    /// Sets the owners, modes and times of all files on the disk, those of directories last.
    ///
    /// Only root can give files to others. For every other user the files stay the user's own, and the
    /// packers write the owners.
    ///
    /// # Errors
    /// An owner, mode or time cannot be set.
    pub fn settle(&self, epoch: u32) -> Result<()> {
        let instant = Timespec { tv_sec: i64::from(epoch), tv_nsec: 0 };
        let times = Timestamps { last_access: instant, last_modification: instant };
        let set_times = |host: &Utf8Path| {
            utimensat(CWD, host.as_std_path(), &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| FileError::at("set the times of", host)(error.into()))
        };
        for (path, node) in self.nodes.iter().rev() {
            let host = self.root.join(path);
            if !matches!(node.kind, NodeKind::Link { .. }) {
                // A change of the owner clears set-id bits.
                set_owner(&host, node.owner)?;
                set_mode(&host, node.mode)?;
            }
            set_times(&host)?;
        }
        set_owner(&self.root, Owner::ROOT)?;
        set_mode(&self.root, 0o755)?;
        Ok(set_times(&self.root)?)
    }

    /// Replaces the list of nodes after a change of the directory.
    ///
    /// # Errors
    /// The tree is too large, or a mode denies the owner access.
    pub(super) fn replace(&mut self, nodes: BTreeMap<Utf8PathBuf, Node>, size: u64) -> Result<()> {
        let first = || nodes.keys().next().cloned().unwrap_or_default();
        if size > MAXIMUM_SIZE {
            return Err(StageError::TooLarge { path: first(), limit: "8 GiB" });
        }
        if nodes.len() > MAXIMUM_NODES {
            return Err(StageError::TooLarge { path: first(), limit: "500000 files" });
        }
        for (path, node) in &nodes {
            let needed = if node.kind == NodeKind::Directory { 0o700 } else { 0o400 };
            if node.mode & needed != needed {
                return Err(StageError::Mode { path: path.clone(), mode: node.mode });
            }
        }
        (self.nodes, self.size) = (nodes, size);
        Ok(())
    }

    fn insert(&mut self, path: &Utf8Path, kind: NodeKind, mode: u32, origin: &Arc<str>) -> Result<()> {
        if self.nodes.len() >= MAXIMUM_NODES {
            return Err(StageError::TooLarge { path: path.to_owned(), limit: "500000 files" });
        }
        let node = Node { kind, mode, owner: Owner::ROOT, origin: Arc::clone(origin) };
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// Creates the directories above a path.
    fn make_parents(&mut self, path: &Utf8Path, origin: &Arc<str>) -> Result<()> {
        let parents: Vec<&Utf8Path> =
            path.ancestors().skip(1).filter(|path| !path.as_str().is_empty()).collect();
        for parent in parents.into_iter().rev() {
            match self.nodes.get(parent) {
                None => {
                    let host = self.root.join(parent);
                    fs::create_dir(&host)?;
                    self.insert(parent, NodeKind::Directory, 0o755, origin)?;
                }
                Some(Node { kind: NodeKind::Directory, .. }) => {}
                Some(Node { kind: NodeKind::Link { .. }, origin, .. }) => {
                    let (path, link, origin) = (path.to_owned(), parent.to_owned(), Arc::clone(origin));
                    return Err(StageError::ThroughLink { path, link, origin });
                }
                Some(node) => return Err(conflict(parent, "a directory", origin, node)),
            }
        }
        Ok(())
    }

    /// Prepares a path for a new file, and returns its path on the host.
    fn make_room(&mut self, path: &Utf8Path, what: &'static str, origin: &Arc<str>) -> Result<Utf8PathBuf> {
        self.make_parents(path, origin)?;
        match self.nodes.get(path) {
            None => {}
            Some(node @ Node { kind: NodeKind::Directory, .. }) => {
                return Err(conflict(path, what, origin, node));
            }
            Some(_) => drop(self.remove(path)?),
        }
        Ok(self.root.join(path))
    }
}

/// The directory of files that are moved under /usr before the extension is packed.
const ETC: &str = "etc";

/// Whether systemd-sysext merges a path relative to the root.
pub(super) fn is_kept(path: &Utf8Path) -> bool {
    matches!(path.components().next(), Some(first) if first.as_str() == "usr" || first.as_str() == "opt")
}

/// Sets the owner of a file on the disk, if this user is root.
fn set_owner(host: &Utf8Path, owner: Owner) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let metadata = fs::symlink_metadata(host)?;
    if (metadata.uid(), metadata.gid()) != (owner.uid, owner.gid) {
        std::os::unix::fs::lchown(host, Some(owner.uid), Some(owner.gid))
            .map_err(FileError::at("set the owner of", host))?;
    }
    Ok(())
}

fn set_mode(host: &Utf8Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(host, Permissions::from_mode(mode))?)
}

fn conflict(path: &Utf8Path, what: &'static str, new: &Arc<str>, there: &Node) -> StageError {
    let (new, origin) = (Arc::clone(new), Arc::clone(&there.origin));
    StageError::Kind { path: path.to_owned(), what, new, origin }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged() -> (Staged, Arc<str>) {
        let staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        (staged, Arc::from("a test"))
    }

    fn paths(staged: &Staged) -> Vec<&str> {
        staged.nodes().map(|(path, _)| path.as_str()).collect()
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let (mut staged, origin) = staged();
        staged.put_link(Utf8Path::new("usr/share/out"), "/etc", &origin).expect("a link");
        let error = staged.put_file(Utf8Path::new("usr/share/out/shadow"), 0o644, &mut &b"x"[..], &origin);
        assert!(matches!(error, Err(StageError::ThroughLink { .. })), "{error:?}");
    }

    #[test]
    fn a_later_file_replaces_an_earlier_one_but_not_its_hard_link() {
        let (mut staged, origin) = staged();
        let (first, second) = (Utf8Path::new("usr/bin/a"), Utf8Path::new("usr/bin/b"));
        staged.put_file(first, 0o755, &mut &b"old"[..], &origin).expect("a file");
        staged.put_hard_link(second, first, &origin).expect("a second name");
        staged.put_file(first, 0o755, &mut &b"new!"[..], &origin).expect("replaced");
        let read = |path| fs::read_to_string(staged.root().join(path)).expect("read");
        assert_eq!((read(first), read(second)), ("new!".to_owned(), "old".to_owned()));
    }

    #[test]
    fn a_directory_is_removed_with_its_entries_and_nothing_else() {
        let (mut staged, origin) = staged();
        for path in ["usr/share/doc/a/b", "usr/share/doc-base/c", "usr/share/doc.txt"] {
            staged.put_file(Utf8Path::new(path), 0o644, &mut &b"x"[..], &origin).expect("a file");
        }
        assert!(staged.remove(Utf8Path::new("usr/share/doc")).expect("removed"));
        assert!(!staged.remove(Utf8Path::new("usr/share/doc")).expect("nothing to do"));
        assert_eq!(
            paths(&staged),
            ["usr", "usr/share", "usr/share/doc-base", "usr/share/doc-base/c", "usr/share/doc.txt"]
        );
        assert_eq!(staged.size(), 2);
    }

    #[test]
    fn entries_move_and_the_old_directory_is_removed() {
        let (mut staged, origin) = staged();
        for path in ["usr/sbin/runc", "usr/bin/containerd"] {
            staged.put_file(Utf8Path::new(path), 0o755, &mut &b"x"[..], &origin).expect("a file");
        }
        staged.move_contents(Utf8Path::new("usr/sbin"), Utf8Path::new("usr/bin"), &origin).expect("moved");
        assert_eq!(paths(&staged), ["usr", "usr/bin", "usr/bin/containerd", "usr/bin/runc"]);
        staged.put_file(Utf8Path::new("usr/sbin/runc"), 0o755, &mut &b"y"[..], &origin).expect("a file");
        let error = staged.move_contents(Utf8Path::new("usr/sbin"), Utf8Path::new("usr/bin"), &origin);
        assert!(matches!(error, Err(StageError::Kind { .. })), "{error:?}");
    }
}
