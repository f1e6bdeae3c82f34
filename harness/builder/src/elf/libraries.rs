// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::object::Object;
use crate::member::merge_usr;

/// The shared libraries of a tree, and the directories that its dynamic loader searches.
///
/// All paths are relative to the root of the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Libraries {
    /// the libraries, and links to libraries
    pub files: BTreeMap<Utf8PathBuf, Library>,
    /// links to directories, with their targets
    pub links: BTreeMap<Utf8PathBuf, Utf8PathBuf>,
    /// directories that the loader searches for every program
    pub search_directories: BTreeSet<Utf8PathBuf>,
    /// directories whose libraries are in `ld.so.cache`
    pub cache_directories: BTreeSet<Utf8PathBuf>,
}

/// A shared library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// symbol versions that the library defines; empty where it has no symbol versions
    pub versions: Vec<String>,
}

/// A library that every loader has in one of its default directories.
const LIBC: &str = "libc.so.6";
/// Links that the kernel follows in one path (path_resolution(7)).
const MAXIMUM_LINKS: usize = 40;

impl Libraries {
    /// Adds a library.
    pub fn add(&mut self, path: &Utf8Path, object: &Object) {
        self.files.insert(path.to_owned(), Library { versions: object.versions.clone() });
    }

    /// Adds symbolic links with their targets as written: a link to a library is another name of it,
    /// and any other link may lead to a directory.
    pub fn add_links(&mut self, links: &[(Utf8PathBuf, Utf8PathBuf)]) {
        let resolved = links.iter().map(|(path, target)| (path.clone(), resolve(path, target)));
        self.links = resolved.collect();
        let found: Vec<(Utf8PathBuf, Library)> =
            links.iter().filter_map(|(path, _)| Some((path.clone(), self.find(path)?.clone()))).collect();
        self.files.extend(found);
    }

    /// Sets the default search path: the directory of libc, /usr/lib and /usr/lib64 (ld.so(8)).
    ///
    /// Debian's loader searches the directory of its architecture, Flatcar's /usr/lib64. Directories of
    /// `ld.so.conf` are in [`Self::cache_directories`].
    pub fn set_search_directories(&mut self) {
        let of_libc = self.files.keys().filter(|path| path.file_name() == Some(LIBC));
        let directories: Vec<Utf8PathBuf> =
            of_libc.filter_map(|path| path.parent()).map(Utf8Path::to_owned).collect();
        self.search_directories.extend(directories);
        self.search_directories.insert("usr/lib".into());
        self.search_directories.insert("usr/lib64".into());
    }

    /// The library of a name in a directory.
    pub fn in_directory(&self, directory: &Utf8Path, name: &str) -> Option<&Library> {
        self.find(&directory.join(name))
    }

    /// The library at a path, through links too.
    pub fn find(&self, path: &Utf8Path) -> Option<&Library> {
        let mut path = path.to_owned();
        for _ in 0..MAXIMUM_LINKS {
            if let Some(library) = self.files.get(&path) {
                return Some(library);
            }
            let (link, target) =
                path.ancestors().find_map(|parent| Some((parent.to_owned(), self.links.get(parent)?)))?;
            let rest = path.strip_prefix(&link).unwrap_or(Utf8Path::new(""));
            path = if rest.as_str().is_empty() { target.clone() } else { target.join(rest) };
        }
        None
    }

    /// The library of a name in `ld.so.cache`.
    pub fn in_cache(&self, name: &str) -> Option<&Library> {
        self.cache_directories.iter().find_map(|directory| self.in_directory(directory, name))
    }

    /// Adds the libraries of another tree as the upper layer of an overlay.
    pub fn overlay(&mut self, upper: Self) {
        self.files.extend(upper.files);
        self.links.extend(upper.links);
    }

    /// The paths of all libraries of a name, in any directory.
    pub fn paths_of(&self, name: &str) -> Vec<&Utf8Path> {
        self.files.keys().filter(|path| path.file_name() == Some(name)).map(Utf8PathBuf::as_path).collect()
    }
}

/// The target of a link at a path, relative to the root.
fn resolve(path: &Utf8Path, target: &Utf8Path) -> Utf8PathBuf {
    let mut resolved = match path.parent() {
        Some(parent) if target.is_relative() => parent.to_owned(),
        _ => Utf8PathBuf::new(),
    };
    push_normalised(&mut resolved, target);
    merge_usr(&resolved)
}

/// Appends a path without `.` and `..`; `..` at the root leads to the root.
pub(super) fn push_normalised(base: &mut Utf8PathBuf, path: &Utf8Path) {
    for component in path.components() {
        match component {
            Utf8Component::ParentDir => {
                base.pop();
            }
            Utf8Component::Normal(name) => base.push(name),
            _ => {}
        }
    }
}
