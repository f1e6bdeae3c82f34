// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use super::libraries::{Libraries, Library};
use super::object::Object;
use crate::member::merge_usr;

/// A library that a file of the extension needs and that the loader will not find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// the file, below the root
    pub file: Utf8PathBuf,
    /// the library
    pub library: String,
    /// what is wrong
    pub lack: Lack,
}

/// What is wrong with a library that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// there is none of the name
    Absent,
    /// there is one where the loader does not look
    Elsewhere(Vec<Utf8PathBuf>),
    /// it is the program's loader, and not there
    Loader,
    /// it does not offer these versions of symbols
    Versions(Vec<String>),
}

/// Looks for what the loader will not find.
///
/// `extension` has the programs and libraries of the extension; `own` its libraries, `base` those of the
/// base. The loader's cache, /etc/ld.so.cache, is not made anew when an extension is merged: a library
/// of an extension is found in the loader's own directories or by a path in the program, and
/// nowhere else.
pub fn missing<'a>(
    extension: impl IntoIterator<Item = (&'a Utf8Path, &'a Object)>,
    own: &Libraries,
    base: &Libraries,
) -> Vec<Missing> {
    let mut found = Vec::new();
    for (file, object) in extension {
        if let Some(path) = &object.interpreter {
            let relative = merge_usr(Utf8Path::new(path.trim_start_matches('/')));
            if own.find(&relative).is_none() && base.find(&relative).is_none() {
                found.push(Missing { file: file.to_owned(), library: path.clone(), lack: Lack::Loader });
            }
        }
        for name in &object.needed {
            let Some(lack) = lack(file, object, name, own, base) else { continue };
            found.push(Missing { file: file.to_owned(), library: name.clone(), lack });
        }
    }
    found
}

fn lack(file: &Utf8Path, object: &Object, name: &str, own: &Libraries, base: &Libraries) -> Option<Lack> {
    let run_path = object.run_path.iter().map(|directory| expand(directory, file));
    let mut directories = run_path.chain(base.directories.iter().cloned());
    // The extension lies over the base, directory by directory.
    let library =
        directories.find_map(|directory| own.get(&directory, name).or_else(|| base.get(&directory, name)));
    let library = library.or_else(|| base.in_cache(name));
    let Some(library) = library else {
        let places: Vec<Utf8PathBuf> =
            [own, base].iter().flat_map(|libraries| libraries.places(name)).map(Utf8Path::to_owned).collect();
        return Some(if places.is_empty() { Lack::Absent } else { Lack::Elsewhere(places) });
    };
    let versions = unmet(object, name, library);
    (!versions.is_empty()).then_some(Lack::Versions(versions))
}

/// The versions that a library does not offer. One that offers none at all is taken by the loader.
fn unmet(object: &Object, name: &str, library: &Library) -> Vec<String> {
    let needed = object.versions_needed.get(name).map(Vec::as_slice).unwrap_or_default();
    if library.versions.is_empty() {
        return Vec::new();
    }
    needed.iter().filter(|version| !library.versions.contains(version)).cloned().collect()
}

/// A directory of a run path, below the root.
fn expand(directory: &str, file: &Utf8Path) -> Utf8PathBuf {
    let origin = format!("/{}", file.parent().unwrap_or(Utf8Path::new("")));
    let filled = directory.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
    let mut path = Utf8PathBuf::new();
    for part in Utf8Path::new(&filled).components() {
        match part {
            camino::Utf8Component::ParentDir => {
                path.pop();
            }
            camino::Utf8Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    merge_usr(&path)
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, library, lack } = self;
        match lack {
            Lack::Loader => write!(formatter, "`/{file}` is started by `{library}`, which is not there"),
            Lack::Absent => write!(
                formatter,
                "`/{file}` is linked with `{library}`, which neither the extension nor the base has"
            ),
            Lack::Elsewhere(places) => {
                let places: Vec<String> = places.iter().map(|path| format!("/{path}")).collect();
                write!(
                    formatter,
                    "`/{file}` is linked with `{library}`, which lies where the loader does not look: {}",
                    places.join(", ")
                )
            }
            Lack::Versions(versions) => write!(
                formatter,
                "`/{file}` needs {} of `{library}`, and the one there is older or another",
                versions.join(", ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(versions: &[&str]) -> Object {
        Object { versions: versions.iter().map(|one| (*one).to_owned()).collect(), ..Object::default() }
    }

    fn program(needed: &str, run_path: &[&str], versions: &[&str]) -> Object {
        let versions: Vec<String> = versions.iter().map(|one| (*one).to_owned()).collect();
        Object {
            needed: vec![needed.to_owned()],
            run_path: run_path.iter().map(|one| (*one).to_owned()).collect(),
            versions_needed: [(needed.to_owned(), versions)].into(),
            ..Object::default()
        }
    }

    fn base() -> Libraries {
        let mut base = Libraries::default();
        base.add("usr/lib64/libc.so.6".into(), &library(&["GLIBC_2.2.5", "GLIBC_2.36"]));
        base.add("usr/lib/private/libhidden.so.1".into(), &library(&[]));
        base.find_directories();
        base
    }

    fn judge(file: &str, object: &Object, own: &Libraries) -> Option<Lack> {
        let file = Utf8Path::new(file);
        missing([(file, object)], own, &base()).pop().map(|missing| missing.lack)
    }

    #[test]
    fn libraries_are_found_where_the_loader_looks() {
        let mut own = Libraries::default();
        own.add("usr/lib64/libone.so.1.2".into(), &library(&[]));
        own.add_links(&[
            ("usr/lib64/libone.so.1".into(), "libone.so.1.2".into()),
            ("usr/lib/moved".into(), "/lib/app".into()),
        ]);
        own.add("usr/lib/app/libtwo.so".into(), &library(&[]));
        assert_eq!(judge("usr/bin/app", &program("libc.so.6", &[], &["GLIBC_2.36"]), &own), None);
        assert_eq!(judge("usr/bin/app", &program("libone.so.1", &[], &[]), &own), None);
        assert_eq!(judge("usr/bin/app", &program("libtwo.so", &["$ORIGIN/../lib/app"], &[]), &own), None);
        assert_eq!(judge("usr/bin/app", &program("libtwo.so", &["/lib/app"], &[]), &own), None);
        assert_eq!(judge("usr/bin/app", &program("libtwo.so", &["/lib/moved"], &[]), &own), None);
        assert_eq!(judge("usr/bin/app", &program("libhidden.so.1", &["/usr/lib/private"], &[]), &own), None);
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        let mut own = Libraries::default();
        own.add("usr/lib/app/libtwo.so".into(), &library(&[]));
        let judged = |object: &Object| judge("usr/bin/app", object, &own);
        assert_eq!(judged(&program("libnone.so.1", &[], &[])), Some(Lack::Absent));
        let elsewhere = Some(Lack::Elsewhere(vec!["usr/lib/app/libtwo.so".into()]));
        assert_eq!(judged(&program("libtwo.so", &["$ORIGIN/lib"], &[])), elsewhere);
        let musl = Object { interpreter: Some("/lib/ld-musl-x86_64.so.1".to_owned()), ..Object::default() };
        assert_eq!(judged(&musl), Some(Lack::Loader));
        let versions = Some(Lack::Versions(vec!["GLIBC_2.41".to_owned()]));
        assert_eq!(judged(&program("libc.so.6", &[], &["GLIBC_2.2.5", "GLIBC_2.41"])), versions);
    }
}
