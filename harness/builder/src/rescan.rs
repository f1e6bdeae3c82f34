// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::attributes::{self, Attribute};
use super::member::{NameError, link_target, member_path};
use super::stage::{Node, NodeKind, StageError, Staged};

/// Something in a tree that no extension can hold.
#[derive(Debug, thiserror::Error)]
pub enum RescanError {
    /// it cannot be read
    #[error("cannot read `{path}`")]
    Read {
        /// what
        path: String,
        /// why not
        source: std::io::Error,
    },
    /// a name that cannot be used
    #[error(transparent)]
    Name(#[from] NameError),
    /// it is of a kind that an extension must not hold
    #[error("`/{path}` is {what}")]
    Forbidden {
        /// where
        path: Utf8PathBuf,
        /// what it is
        what: String,
    },
    /// it does not fit
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl Hint for RescanError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Forbidden { what, .. } if what.contains("owned") => {
                Some("everything in an extension belongs to root".to_owned())
            }
            _ => None,
        }
    }
}

/// Takes in what lies in a stage's directory now, after something other than the stage has changed
/// it, and says which directories had opaque markers, which are removed.
///
/// # Errors
/// See [`RescanError`].
pub(super) fn rescan(staged: &mut Staged, by: &Utf8Path) -> Result<Vec<Utf8PathBuf>, RescanError> {
    let changed_by: Arc<str> = Arc::from(format!("the script `{by}`"));
    let root = staged.root().to_owned();
    let (mut nodes, mut size, mut opaque) = (BTreeMap::new(), 0, Vec::new());
    for entry in walkdir::WalkDir::new(&root).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root.as_std_path()).display().to_string();
            RescanError::Read { path, source: error.into() }
        })?;
        let host = entry.path();
        let relative = host.strip_prefix(&root).unwrap_or(host);
        let path = member_path(relative.as_os_str().as_bytes())?;
        let read = |source| RescanError::Read { path: host.display().to_string(), source };
        let metadata = fs::symlink_metadata(host).map_err(read)?;
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
        nodes.insert(path, Node { kind, mode, origin });
    }
    staged.replace(nodes, size)?;
    Ok(opaque)
}

fn kind(path: &Utf8Path, host: &Path, metadata: &Metadata) -> Result<NodeKind, RescanError> {
    let forbid = |what: &str| RescanError::Forbidden { path: path.to_owned(), what: what.to_owned() };
    // In a user namespace root's files are the builder's.
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(forbid(&format!("owned by the user {}", metadata.uid())));
    }
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Ok(NodeKind::Directory);
    }
    if kind.is_file() {
        return Ok(NodeKind::File { size: metadata.len() });
    }
    if kind.is_symlink() {
        let read = |source| RescanError::Read { path: host.display().to_string(), source };
        let target = fs::read_link(host).map_err(read)?;
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

/// Removes an opaque marker, and refuses what would get lost.
fn remove_marker(path: &Utf8Path, host: &Path) -> Result<bool, RescanError> {
    let read = |source: std::io::Error| RescanError::Read { path: host.display().to_string(), source };
    let mut found = false;
    for attribute in attributes::of(host).map_err(read)? {
        match attribute {
            Attribute::Opaque(name) => {
                rustix::fs::lremovexattr(host, name.as_str()).map_err(|error| read(error.into()))?;
                found = true;
            }
            other => {
                let what = other.lost();
                return Err(RescanError::Forbidden { path: path.to_owned(), what });
            }
        }
    }
    Ok(found)
}
