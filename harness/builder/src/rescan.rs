// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};

use super::attributes::{self, Attribute};
use super::member::{NameError, link_target, member_path};
use super::owner::Owner;
use super::stage::{Node, NodeKind, StageError, Staged};

/// A file in a changed tree that no extension can contain.
#[derive(Debug, thiserror::Error)]
pub enum RescanError {
    /// a file cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// a name is not valid
    #[error(transparent)]
    Name(#[from] NameError),
    /// a file is of a kind that an extension must not contain
    #[error("`/{path}` is {what}")]
    Forbidden {
        /// the file
        path: Utf8PathBuf,
        /// its kind
        what: String,
    },
    /// the tree is too large, or a mode is not valid
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl Hint for RescanError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Stage(error) => error.hint(),
            Self::Forbidden { .. } | Self::Name(_) => None,
        }
    }
}

/// Updates a stage from its directory, which a script has changed. Returns the directories whose opaque
/// markers were removed.
///
/// # Errors
/// See [`RescanError`].
pub(super) fn rescan(staged: &mut Staged, script: &Utf8Path) -> Result<Vec<Utf8PathBuf>, RescanError> {
    let changed_by: Arc<str> = Arc::from(format!("the script `{script}`"));
    let root = staged.root().to_owned();
    let is_root = rustix::process::geteuid().is_root();
    let (mut nodes, mut size, mut opaque) = (BTreeMap::new(), 0, Vec::new());
    for entry in walkdir::WalkDir::new(&root).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| FileError::at("list", &root)(error.into()))?;
        let host = entry.path();
        let relative = host.strip_prefix(&root).unwrap_or(host);
        let path = member_path(relative.as_os_str().as_bytes())?;
        let metadata = fs::symlink_metadata(host)?;
        let kind = kind(&path, host, &metadata)?;
        if remove_marker(&path, host)? {
            opaque.push(path.clone());
        }
        if let NodeKind::File { size: bytes } = &kind {
            size += bytes;
        }
        let mode = if metadata.is_symlink() { 0o777 } else { metadata.mode() & 0o7777 };
        let before = staged
            .get(&path)
            .filter(|node| std::mem::discriminant(&node.kind) == std::mem::discriminant(&kind));
        let origin = Arc::clone(before.map_or(&changed_by, |node| &node.origin));
        let owner = match &kind {
            NodeKind::Link { .. } => Owner::ROOT,
            _ if is_root => Owner { uid: metadata.uid(), gid: metadata.gid() },
            // In the user namespace of any other builder all files belong to root, and no other number
            // exists.
            _ => before.map_or(Owner::ROOT, |node| node.owner),
        };
        nodes.insert(path, Node { kind, mode, owner, origin });
    }
    staged.replace(nodes, size)?;
    Ok(opaque)
}

fn kind(path: &Utf8Path, host: &Path, metadata: &Metadata) -> Result<NodeKind, RescanError> {
    let forbid = |what: &str| RescanError::Forbidden { path: path.to_owned(), what: what.to_owned() };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Ok(NodeKind::Directory);
    }
    if kind.is_file() {
        return Ok(NodeKind::File { size: metadata.len() });
    }
    if kind.is_symlink() {
        let target = fs::read_link(host)?;
        return Ok(NodeKind::Link { target: link_target(path, target.as_os_str().as_bytes())? });
    }
    Err(forbid(if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() && metadata.rdev() == 0 {
        "a whiteout of an overlay"
    } else {
        "a device node"
    }))
}

/// Removes an opaque marker, and refuses attributes that would be lost. Returns whether there was one.
fn remove_marker(path: &Utf8Path, host: &Path) -> Result<bool, RescanError> {
    let mut found = false;
    for attribute in attributes::of(host).map_err(FileError::at("read the attributes of", host))? {
        match attribute {
            Attribute::Opaque(name) => {
                rustix::fs::lremovexattr(host, name.as_str())
                    .map_err(|error| FileError::at("change the attributes of", host)(error.into()))?;
                found = true;
            }
            other => {
                let what = other.description();
                return Err(RescanError::Forbidden { path: path.to_owned(), what });
            }
        }
    }
    Ok(found)
}
