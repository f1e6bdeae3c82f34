// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::object::Object;
use crate::member::merge_usr;

/// The shared libraries of a tree, by their paths below its root, and where its loader looks for
/// them when a program does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Libraries {
    /// the libraries, and the links to them
    pub files: BTreeMap<Utf8PathBuf, Library>,
    /// links to directories, with their targets below the root
    pub links: BTreeMap<Utf8PathBuf, Utf8PathBuf>,
    /// directories that the loader looks in
    pub directories: BTreeSet<Utf8PathBuf>,
    /// directories whose libraries the loader's cache has, for those of this tree
    pub cached: BTreeSet<Utf8PathBuf>,
}

/// What a library offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// versions of symbols; a library can do without any
    pub versions: Vec<String>,
}

/// Names a loader's own library: which directory it lies in says where that loader looks.
const LIBC: &str = "libc.so.6";

impl Libraries {
    /// Notes a library.
    pub fn add(&mut self, path: &Utf8Path, object: &Object) {
        self.files.insert(path.to_owned(), Library { versions: object.versions.clone() });
    }

    /// Notes links, each with its target as written: a link to a library is the same under another
    /// name, any other may be one to a directory.
    pub fn add_links(&mut self, links: &[(Utf8PathBuf, Utf8PathBuf)]) {
        let resolved = links.iter().map(|(path, target)| (path.clone(), resolve(path, target)));
        self.links = resolved.collect();
        let found: Vec<(Utf8PathBuf, Library)> =
            links.iter().filter_map(|(path, _)| Some((path.clone(), self.find(path)?.clone()))).collect();
        self.files.extend(found);
    }

    /// Decides where the loader looks: in the directory of libc, and in /usr/lib and /usr/lib64 (ld.so(8):
    /// the trusted directories). Debian's is built for the directory of its architecture, Flatcar's
    /// for /usr/lib64. What ld.so.conf names besides is added by the caller.
    pub fn find_directories(&mut self) {
        let of_libc = self.files.keys().filter(|path| path.file_name() == Some(LIBC));
        let directories: Vec<Utf8PathBuf> =
            of_libc.filter_map(|path| path.parent()).map(Utf8Path::to_owned).collect();
        self.directories.extend(directories);
        self.directories.insert("usr/lib".into());
        self.directories.insert("usr/lib64".into());
    }

    /// The library of a name in a directory.
    pub fn get(&self, directory: &Utf8Path, name: &str) -> Option<&Library> {
        self.find(&directory.join(name))
    }

    /// The library at a path, behind links too.
    pub fn find(&self, path: &Utf8Path) -> Option<&Library> {
        let mut path = path.to_owned();
        // As many as the kernel follows (path_resolution(7)).
        for _ in 0..40 {
            if let Some(library) = self.files.get(&path) {
                return Some(library);
            }
            let (link, target) =
                path.ancestors().find_map(|above| Some((above.to_owned(), self.links.get(above)?)))?;
            let rest = path.strip_prefix(&link).unwrap_or(Utf8Path::new(""));
            path = if rest.as_str().is_empty() { target.clone() } else { target.join(rest) };
        }
        None
    }

    /// A library that the loader's cache has.
    pub fn in_cache(&self, name: &str) -> Option<&Library> {
        self.cached.iter().find_map(|directory| self.get(directory, name))
    }

    /// Takes another tree's libraries in, as an overlay does whose upper layer it is.
    pub fn lay(&mut self, upper: Self) {
        self.files.extend(upper.files);
        self.links.extend(upper.links);
    }

    /// Where a name lies, in whatever directory.
    pub fn places(&self, name: &str) -> Vec<&Utf8Path> {
        self.files.keys().filter(|path| path.file_name() == Some(name)).map(Utf8PathBuf::as_path).collect()
    }
}

/// Where a link at a path points, below the root.
pub(super) fn resolve(path: &Utf8Path, target: &Utf8Path) -> Utf8PathBuf {
    let mut resolved = path.parent().unwrap_or(Utf8Path::new("")).to_owned();
    if target.is_absolute() {
        resolved = Utf8PathBuf::new();
    }
    for part in target.components() {
        match part {
            camino::Utf8Component::ParentDir => {
                resolved.pop();
            }
            camino::Utf8Component::Normal(name) => resolved.push(name),
            _ => {}
        }
    }
    merge_usr(&resolved)
}
