// SPDX-License-Identifier: Apache-2.0
use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::object::Object;

/// The shared libraries of a tree, by their paths below its root, and where its loader looks for
/// them when a program does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Libraries {
    /// the libraries, and the links to them
    pub files: BTreeMap<Utf8PathBuf, Library>,
    /// directories that the loader looks in
    pub directories: BTreeSet<Utf8PathBuf>,
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

    /// Notes a link to a library: the same under another name.
    pub fn add_link(&mut self, path: &Utf8Path, target: &Utf8Path) {
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
        if let Some(library) = self.files.get(&resolved).cloned() {
            self.files.insert(path.to_owned(), library);
        }
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
        self.files.get(&directory.join(name))
    }

    /// Where a name lies, in whatever directory.
    pub fn places(&self, name: &str) -> Vec<&Utf8Path> {
        self.files.keys().filter(|path| path.file_name() == Some(name)).map(Utf8PathBuf::as_path).collect()
    }
}
