// SPDX-License-Identifier: Apache-2.0
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};

use super::attributes::{self, Attribute};
use super::member::{NameError, link_target, member_path};
use super::stage::{StageError, Staged};

/// A directory that cannot be copied into an extension.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// a file of it cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// a name in it is not valid in an extension
    #[error("the tree `{tree}` contains an invalid name")]
    Name {
        /// the directory
        tree: String,
        /// the name
        source: NameError,
    },
    /// a file that an extension must not contain
    #[error("the tree contains `/{path}`, which is {what}")]
    Forbidden {
        /// the file, relative to the tree
        path: String,
        /// its kind
        what: String,
    },
    /// a file that conflicts with the staged ones
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl Hint for TreeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Forbidden { what, .. } if what.contains("whiteout") => {
                Some("remove the whiteout: an extension must not hide files of the base".to_owned())
            }
            Self::Forbidden { what, .. } if what.contains("outside") => {
                Some("move it under /usr or /opt; files in /etc come through Ignition, or with [finish] etc = \"tmpfiles\"".to_owned())
            }
            Self::File(error) => error.hint(),
            Self::Stage(error) => error.hint(),
            Self::Forbidden { .. } | Self::Name { .. } => None,
        }
    }
}

/// Copies a directory into a stage.
///
/// The mode is 0755 for directories and executable files and 0644 for others: the umask of a checkout must
/// not change the extension. Returns the directories with opaque markers, which are left out: they would
/// hide the files of other layers.
///
/// # Errors
/// See [`TreeError`].
pub(super) fn copy_tree(staged: &mut Staged, tree: &Utf8Path) -> Result<Vec<Utf8PathBuf>, TreeError> {
    let mut opaque = Vec::new();
    let origin: Arc<str> = Arc::from(format!("the tree `{tree}`"));
    for entry in walkdir::WalkDir::new(tree).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| FileError::at("list", tree)(error.into()))?;
        let host = entry.path();
        let relative = host.strip_prefix(tree).unwrap_or(host);
        copy_entry(staged, tree, host, relative, &origin, &mut opaque)?;
    }
    Ok(opaque)
}

fn copy_entry(
    staged: &mut Staged,
    tree: &Utf8Path,
    host: &Path,
    relative: &Path,
    origin: &Arc<str>,
    opaque: &mut Vec<Utf8PathBuf>,
) -> Result<(), TreeError> {
    let name = |source| TreeError::Name { tree: tree.to_string(), source };
    let path = member_path(relative.as_os_str().as_bytes()).map_err(name)?;
    let forbid = |what: String| TreeError::Forbidden { path: path.to_string(), what };
    if !staged.takes(&path) {
        return Err(forbid("outside /usr and /opt".to_owned()));
    }
    let metadata = fs::symlink_metadata(host)?;
    for attribute in attributes::of(host).map_err(FileError::at("read the attributes of", host))? {
        match attribute {
            // The tree was the upper layer of an overlay.
            Attribute::Opaque(_) => opaque.push(path.clone()),
            other => return Err(forbid(other.description())),
        }
    }
    let kind = metadata.file_type();
    if kind.is_dir() {
        staged.put_directory(&path, 0o755, origin)?;
    } else if kind.is_symlink() {
        let target = fs::read_link(host)?;
        let target = link_target(&path, target.as_os_str().as_bytes()).map_err(name)?;
        staged.put_link(&path, &target, origin)?;
    } else if kind.is_file() {
        let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        staged.put_file(&path, mode, &mut fs::open(host)?, origin)?;
    } else if kind.is_char_device() && metadata.rdev() == 0 {
        return Err(forbid("a whiteout of an overlay".to_owned()));
    } else {
        return Err(forbid("neither a file, a directory nor a link".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn copied(prepare: impl Fn(&Path)) -> Result<Vec<(String, u32)>, TreeError> {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(directory.path().join("usr/share")).expect("made");
        prepare(directory.path());
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        copy_tree(&mut staged, Utf8Path::from_path(directory.path()).expect("UTF-8"))?;
        Ok(staged.nodes().map(|(path, node)| (path.to_string(), node.mode)).collect())
    }

    #[test]
    fn modes_do_not_depend_on_the_umask() {
        let nodes = copied(|root| {
            for (name, mode) in [("usr/share/data", 0o600), ("usr/share/tool", 0o700)] {
                fs::write(root.join(name), "x").expect("written");
                fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode)).expect("set");
            }
        })
        .expect("copied");
        let expected =
            [("usr", 0o755), ("usr/share", 0o755), ("usr/share/data", 0o644), ("usr/share/tool", 0o755)];
        assert_eq!(nodes, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }

    #[test]
    fn files_that_no_extension_can_contain_are_refused() {
        let outside = copied(|root| fs::create_dir(root.join("etc")).expect("made"));
        assert!(
            matches!(&outside, Err(error @ TreeError::Forbidden { .. }) if error.hint().is_some()),
            "{outside:?}"
        );
        let upwards = copied(|root| symlink("../../../etc", root.join("usr/share/x")).expect("made"));
        assert!(matches!(upwards, Err(TreeError::Name { .. })), "{upwards:?}");
        let socket = copied(|root| {
            drop(std::os::unix::net::UnixListener::bind(root.join("usr/share/s")).expect("bound"));
        });
        assert!(matches!(socket, Err(TreeError::Forbidden { .. })), "{socket:?}");
    }

    fn marked(name: &str) -> Result<(Vec<Utf8PathBuf>, Staged), TreeError> {
        let directory = tempfile::tempdir().expect("a directory");
        let inside = directory.path().join("usr/share");
        fs::create_dir_all(&inside).expect("made");
        rustix::fs::setxattr(&inside, name, b"y", rustix::fs::XattrFlags::empty())
            .expect("/tmp keeps user attributes");
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let opaque = copy_tree(&mut staged, Utf8Path::from_path(directory.path()).expect("UTF-8"))?;
        Ok((opaque, staged))
    }

    #[test]
    fn opaque_markers_are_left_out_and_returned() {
        let (opaque, staged) = marked("user.overlay.opaque").expect("copied");
        assert_eq!(opaque, ["usr/share"]);
        let copied = staged.root().join("usr/share");
        assert_eq!(attributes::of(copied.as_std_path()).expect("read"), []);
    }

    #[test]
    fn attributes_that_would_be_lost_are_refused() {
        let error = marked("user.other").map(|(opaque, _)| opaque);
        assert!(matches!(&error, Err(TreeError::Forbidden { path, .. }) if path == "usr/share"), "{error:?}");
    }
}
