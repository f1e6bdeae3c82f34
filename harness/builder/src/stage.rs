// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// How much an extension may hold, in bytes: far beyond any real one, and small enough that an
/// archive that unpacks without end is stopped before the disk is full.
const MAXIMUM_SIZE: u64 = 8 << 30;
/// How many files, directories and links an extension may hold.
const MAXIMUM_NODES: usize = 500_000;

/// The tree of an extension before it is packed: the bytes in a temporary directory, everything
/// else in a list.
///
/// All of it belongs to root in the extension, whoever builds it; so owners are not kept and the
/// packers write 0:0. Paths are relative to the root of the extension. Nothing is ever written
/// through a link that an earlier source put there.
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
    /// what it is
    pub kind: NodeKind,
    /// permission bits, set-id bits among them; 0777 of a link
    pub mode: u32,
    /// what brought it, for messages: a package, a tree, or the recipe
    pub origin: Arc<str>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// a directory
    Directory,
    /// a regular file
    File {
        /// bytes
        size: u64,
    },
    /// a symbolic link
    Link {
        /// where it points
        target: String,
    },
}

/// Something that cannot be put into the tree.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// it would lie behind a link
    #[error("`/{path}` would be written through the link `/{link}`, which comes from {origin}")]
    ThroughLink {
        /// what was to be written
        path: Utf8PathBuf,
        /// the link on the way
        link: Utf8PathBuf,
        /// what brought the link
        origin: Arc<str>,
    },
    /// a directory here, something else there
    #[error("`/{path}` from {new} is {what} and stands in the way of that from {origin}")]
    Kind {
        /// where
        path: Utf8PathBuf,
        /// what the new one is
        what: &'static str,
        /// what brings it
        new: Arc<str>,
        /// what brought the one there
        origin: Arc<str>,
    },
    /// the owner could not use it
    #[error("`/{path}` has the mode {mode:04o}, which keeps its owner out")]
    Mode {
        /// where
        path: Utf8PathBuf,
        /// permission bits
        mode: u32,
    },
    /// more than an extension may hold
    #[error("the extension grows beyond {limit} at `/{path}`")]
    TooLarge {
        /// where
        path: Utf8PathBuf,
        /// what there is too much of
        limit: &'static str,
    },
}

type Result<T, E = StageError> = std::result::Result<T, E>;

impl Staged {
    /// An empty tree in a temporary directory inside `parent`.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new_in(parent: &Utf8Path) -> Result<Self> {
        let fail =
            |source| StageError::Io { action: "create a directory in", path: parent.to_owned(), source };
        let scratch = tempfile::Builder::new().prefix(".stage-").tempdir_in(parent).map_err(fail)?;
        let root = Utf8PathBuf::from_path_buf(scratch.path().join("tree"))
            .map_err(|_| fail(io::ErrorKind::InvalidFilename.into()))?;
        fs::create_dir(&root).map_err(|source| io_error("create", &root, source))?;
        Ok(Self { _scratch: scratch, root, nodes: BTreeMap::new(), size: 0, takes_etc: false })
    }

    /// Takes what belongs in /etc too, for as long as it has no other place.
    pub fn take_etc(&mut self) {
        self.takes_etc = true;
    }

    /// Whether a path relative to the root is one that the tree takes.
    pub fn takes(&self, path: &Utf8Path) -> bool {
        is_kept(path) || (self.takes_etc && path.starts_with(ETC))
    }

    /// The directory that holds the bytes.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// A new directory beside the tree, for what is on its way into it.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn scratch(&self, name: &str) -> Result<Utf8PathBuf> {
        let path = self.root.with_file_name(name);
        fs::create_dir(&path).map_err(|source| io_error("create", &path, source))?;
        Ok(path)
    }

    /// Everything in the tree by path; a directory comes before what it holds.
    pub fn nodes(&self) -> impl Iterator<Item = (&Utf8Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// What lies at a path.
    pub fn get(&self, path: &Utf8Path) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Puts a directory in; one that is there keeps what it holds and takes the new mode.
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
                node.mode = mode;
                return Ok(());
            }
            return Err(in_the_way(path, "a directory", origin, node));
        }
        let host = self.root.join(path);
        fs::create_dir(&host).map_err(|source| io_error("create", &host, source))?;
        self.insert(path, NodeKind::Directory, mode, origin)
    }

    /// Puts a file in, in place of a file or link that is there.
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
        let mut file = File::create_new(&host).map_err(|source| io_error("create", &host, source))?;
        let allowed = MAXIMUM_SIZE.saturating_sub(self.size);
        let size = io::copy(&mut contents.take(allowed + 1), &mut file)
            .map_err(|source| io_error("write", &host, source))?;
        if size > allowed {
            return Err(StageError::TooLarge { path: path.to_owned(), limit: "8 GiB" });
        }
        self.size += size;
        self.insert(path, NodeKind::File { size }, mode, origin)
    }

    /// Puts a symbolic link in, in place of a file or link that is there.
    ///
    /// # Errors
    /// See [`StageError`].
    pub fn put_link(&mut self, path: &Utf8Path, target: &str, origin: &Arc<str>) -> Result<()> {
        let host = self.make_room(path, "a link", origin)?;
        std::os::unix::fs::symlink(target, &host).map_err(|source| io_error("create", &host, source))?;
        self.insert(path, NodeKind::Link { target: target.to_owned() }, 0o777, origin)
    }

    /// Gives a file that is in the tree a second name. The names share their bytes.
    ///
    /// # Errors
    /// See [`StageError`]; there is no such file.
    pub fn put_hard_link(&mut self, path: &Utf8Path, existing: &Utf8Path, origin: &Arc<str>) -> Result<()> {
        let Some(Node { kind: kind @ NodeKind::File { .. }, mode, .. }) = self.nodes.get(existing).cloned()
        else {
            return Err(io_error("link to", existing, io::ErrorKind::NotFound.into()));
        };
        let host = self.make_room(path, "a file", origin)?;
        fs::hard_link(self.root.join(existing), &host).map_err(|source| io_error("create", &host, source))?;
        self.insert(path, kind, mode, origin)
    }

    /// Removes a path with all it holds, and says whether it was there.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&mut self, path: &Utf8Path) -> Result<bool> {
        // Paths are ordered by component, so what a directory holds follows it without a gap.
        let below: Vec<Utf8PathBuf> = self
            .nodes
            .range(path.to_owned()..)
            .map(|(found, _)| found)
            .take_while(|found| found.starts_with(path))
            .cloned()
            .collect();
        // Children come after their directories, so they go first.
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
            removed.map_err(|source| io_error("remove", &host, source))?;
        }
        Ok(!below.is_empty())
    }

    /// Moves what one directory holds into another, which then takes the place of the first.
    ///
    /// # Errors
    /// Something of that name is there already.
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
                continue;
            }
            if let Some(there) = self.nodes.get(&target) {
                return Err(in_the_way(&target, "moved there", &node.origin, there));
            }
            self.make_parents(&target, origin)?;
            let (old, new) = (self.root.join(&path), self.root.join(&target));
            fs::rename(&old, &new).map_err(|source| io_error("move", &old, source))?;
            self.nodes.remove(&path);
            self.nodes.insert(target, node);
        }
        self.remove(from).map(drop)
    }

    /// Gives every node on the disk its mode and its times, directories after what they hold.
    ///
    /// # Errors
    /// A mode or time cannot be set.
    pub fn settle(&self, epoch: u32) -> Result<()> {
        let instant = Timespec { tv_sec: i64::from(epoch), tv_nsec: 0 };
        let times = Timestamps { last_access: instant, last_modification: instant };
        let set_times = |host: &Utf8Path| {
            utimensat(CWD, host.as_std_path(), &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| io_error("set the times of", host, error.into()))
        };
        for (path, node) in self.nodes.iter().rev() {
            let host = self.root.join(path);
            if !matches!(node.kind, NodeKind::Link { .. }) {
                set_mode(&host, node.mode)?;
            }
            set_times(&host)?;
        }
        set_mode(&self.root, 0o755)?;
        set_times(&self.root)
    }

    /// Takes in what somebody else left in the directory.
    ///
    /// # Errors
    /// There is too much of it, or its owner could not use something.
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
        self.nodes.insert(path.to_owned(), Node { kind, mode, origin: Arc::clone(origin) });
        Ok(())
    }

    /// Makes the directories above a path.
    fn make_parents(&mut self, path: &Utf8Path, origin: &Arc<str>) -> Result<()> {
        let parents: Vec<&Utf8Path> =
            path.ancestors().skip(1).filter(|path| !path.as_str().is_empty()).collect();
        for parent in parents.into_iter().rev() {
            match self.nodes.get(parent) {
                None => {
                    let host = self.root.join(parent);
                    fs::create_dir(&host).map_err(|source| io_error("create", &host, source))?;
                    self.insert(parent, NodeKind::Directory, 0o755, origin)?;
                }
                Some(Node { kind: NodeKind::Directory, .. }) => {}
                Some(Node { kind: NodeKind::Link { .. }, origin, .. }) => {
                    let (path, link, origin) = (path.to_owned(), parent.to_owned(), Arc::clone(origin));
                    return Err(StageError::ThroughLink { path, link, origin });
                }
                Some(node) => return Err(in_the_way(parent, "a directory", origin, node)),
            }
        }
        Ok(())
    }

    /// Makes the way to a path free, and says where it is on the host.
    fn make_room(&mut self, path: &Utf8Path, what: &'static str, origin: &Arc<str>) -> Result<Utf8PathBuf> {
        self.make_parents(path, origin)?;
        match self.nodes.get(path) {
            None => {}
            Some(node @ Node { kind: NodeKind::Directory, .. }) => {
                return Err(in_the_way(path, what, origin, node));
            }
            Some(_) => drop(self.remove(path)?),
        }
        Ok(self.root.join(path))
    }
}

/// Where configuration lies before it is moved to where an extension can hold it.
const ETC: &str = "etc";

/// Whether systemd-sysext merges what lies at a path relative to the root.
pub(super) fn is_kept(path: &Utf8Path) -> bool {
    matches!(path.components().next(), Some(first) if first.as_str() == "usr" || first.as_str() == "opt")
}

fn set_mode(host: &Utf8Path, mode: u32) -> Result<()> {
    fs::set_permissions(host, Permissions::from_mode(mode))
        .map_err(|source| io_error("set the mode of", host, source))
}

fn in_the_way(path: &Utf8Path, what: &'static str, new: &Arc<str>, there: &Node) -> StageError {
    let (new, origin) = (Arc::clone(new), Arc::clone(&there.origin));
    StageError::Kind { path: path.to_owned(), what, new, origin }
}

fn io_error(action: &'static str, path: &Utf8Path, source: io::Error) -> StageError {
    StageError::Io { action, path: path.to_owned(), source }
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
    fn a_later_file_takes_the_place_of_an_earlier_one_without_touching_its_other_name() {
        let (mut staged, origin) = staged();
        let (first, second) = (Utf8Path::new("usr/bin/a"), Utf8Path::new("usr/bin/b"));
        staged.put_file(first, 0o755, &mut &b"old"[..], &origin).expect("a file");
        staged.put_hard_link(second, first, &origin).expect("a second name");
        staged.put_file(first, 0o755, &mut &b"new!"[..], &origin).expect("replaced");
        let read = |path| fs::read_to_string(staged.root().join(path)).expect("read");
        assert_eq!((read(first), read(second)), ("new!".to_owned(), "old".to_owned()));
    }

    #[test]
    fn a_directory_is_removed_with_all_it_holds_and_nothing_else() {
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
    fn contents_move_and_the_old_directory_goes() {
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
