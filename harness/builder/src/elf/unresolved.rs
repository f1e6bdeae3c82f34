// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use super::libraries::{Libraries, Library, push_normalised};
use super::object::Object;
use crate::member::merge_usr;

/// A library that a file of the extension needs and that the dynamic loader cannot resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnresolvedLibrary {
    /// the program or library that needs it, relative to the root
    pub file: Utf8PathBuf,
    /// its soname, or the path of the program interpreter
    pub library: String,
    /// why the loader cannot resolve it
    pub reason: UnresolvedReason,
}

/// Why the dynamic loader cannot resolve a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnresolvedReason {
    /// neither the extension nor the base has a library of this name
    NotFound,
    /// the library exists at these paths only, which are outside the search path
    OutsideSearchPath(Vec<Utf8PathBuf>),
    /// it is the program interpreter (`PT_INTERP`), which does not exist
    NoInterpreter,
    /// the library does not define these symbol versions
    MissingVersions(Vec<String>),
}

/// Finds the libraries that the dynamic loader cannot resolve.
///
/// `extension` has the programs and libraries of the extension, `own` its libraries and `base` those of
/// the base. Merging an extension does not regenerate `/etc/ld.so.cache`: the loader finds a library of
/// an extension in its default directories or through a run path, and nowhere else.
pub fn unresolved<'a>(
    extension: impl IntoIterator<Item = (&'a Utf8Path, &'a Object)>,
    own: &Libraries,
    base: &Libraries,
) -> Vec<UnresolvedLibrary> {
    let mut found = Vec::new();
    for (file, object) in extension {
        let mut add = |library: &str, reason| {
            found.push(UnresolvedLibrary { file: file.to_owned(), library: library.to_owned(), reason });
        };
        if let Some(path) = &object.interpreter {
            let relative = merge_usr(Utf8Path::new(path.trim_start_matches('/')));
            if own.find(&relative).is_none() && base.find(&relative).is_none() {
                add(path, UnresolvedReason::NoInterpreter);
            }
        }
        for name in &object.needed {
            if let Some(reason) = why_unresolved(file, object, name, own, base) {
                add(name, reason);
            }
        }
    }
    found
}

fn why_unresolved(
    file: &Utf8Path,
    object: &Object,
    name: &str,
    own: &Libraries,
    base: &Libraries,
) -> Option<UnresolvedReason> {
    let run_path = object.run_path.iter().map(|directory| expand_origin(directory, file));
    let mut directories = run_path.chain(base.search_directories.iter().cloned());
    // The extension is the upper layer of the overlay in each directory.
    let library = directories.find_map(|directory| {
        own.in_directory(&directory, name).or_else(|| base.in_directory(&directory, name))
    });
    let Some(library) = library.or_else(|| base.in_cache(name)) else {
        let paths: Vec<Utf8PathBuf> = [own, base]
            .iter()
            .flat_map(|libraries| libraries.paths_of(name))
            .map(Utf8Path::to_owned)
            .collect();
        return Some(if paths.is_empty() {
            UnresolvedReason::NotFound
        } else {
            UnresolvedReason::OutsideSearchPath(paths)
        });
    };
    let versions = missing_versions(object, name, library);
    (!versions.is_empty()).then_some(UnresolvedReason::MissingVersions(versions))
}

/// The symbol versions that a library does not define. The loader accepts a library without any.
fn missing_versions(object: &Object, name: &str, library: &Library) -> Vec<String> {
    let needed = object.versions_needed.get(name).map(Vec::as_slice).unwrap_or_default();
    if library.versions.is_empty() {
        return Vec::new();
    }
    needed.iter().filter(|version| !library.versions.contains(version)).cloned().collect()
}

/// A directory of a run path, relative to the root, with `$ORIGIN` expanded (ld.so(8)).
fn expand_origin(directory: &str, file: &Utf8Path) -> Utf8PathBuf {
    let origin = format!("/{}", file.parent().unwrap_or(Utf8Path::new("")));
    let expanded = directory.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
    let mut path = Utf8PathBuf::new();
    push_normalised(&mut path, Utf8Path::new(&expanded));
    merge_usr(&path)
}

impl fmt::Display for UnresolvedLibrary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, library, reason } = self;
        match reason {
            UnresolvedReason::NoInterpreter => write!(
                formatter,
                "`/{file}` needs the program interpreter `{library}`, which neither the extension nor the base has"
            ),
            UnresolvedReason::NotFound => write!(
                formatter,
                "`/{file}` needs the library `{library}`, which neither the extension nor the base has"
            ),
            UnresolvedReason::OutsideSearchPath(paths) => {
                let paths: Vec<String> = paths.iter().map(|path| format!("/{path}")).collect();
                write!(
                    formatter,
                    "`/{file}` needs the library `{library}`, which is outside the loader's search path: {}",
                    paths.join(", ")
                )
            }
            UnresolvedReason::MissingVersions(versions) => write!(
                formatter,
                "`/{file}` needs the symbol versions {} of `{library}`, which the library found does not define",
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
        base.set_search_directories();
        base
    }

    fn reason(file: &str, object: &Object, own: &Libraries) -> Option<UnresolvedReason> {
        let file = Utf8Path::new(file);
        unresolved([(file, object)], own, &base()).pop().map(|library| library.reason)
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
        assert_eq!(reason("usr/bin/app", &program("libc.so.6", &[], &["GLIBC_2.36"]), &own), None);
        assert_eq!(reason("usr/bin/app", &program("libone.so.1", &[], &[]), &own), None);
        assert_eq!(reason("usr/bin/app", &program("libtwo.so", &["$ORIGIN/../lib/app"], &[]), &own), None);
        assert_eq!(reason("usr/bin/app", &program("libtwo.so", &["/lib/app"], &[]), &own), None);
        assert_eq!(reason("usr/bin/app", &program("libtwo.so", &["/lib/moved"], &[]), &own), None);
        assert_eq!(reason("usr/bin/app", &program("libhidden.so.1", &["/usr/lib/private"], &[]), &own), None);
    }

    #[test]
    fn the_reason_is_reported() {
        let mut own = Libraries::default();
        own.add("usr/lib/app/libtwo.so".into(), &library(&[]));
        let of = |object: &Object| reason("usr/bin/app", object, &own);
        assert_eq!(of(&program("libnone.so.1", &[], &[])), Some(UnresolvedReason::NotFound));
        let elsewhere = Some(UnresolvedReason::OutsideSearchPath(vec!["usr/lib/app/libtwo.so".into()]));
        assert_eq!(of(&program("libtwo.so", &["$ORIGIN/lib"], &[])), elsewhere);
        let musl = Object { interpreter: Some("/lib/ld-musl-x86_64.so.1".to_owned()), ..Object::default() };
        assert_eq!(of(&musl), Some(UnresolvedReason::NoInterpreter));
        let versions = Some(UnresolvedReason::MissingVersions(vec!["GLIBC_2.41".to_owned()]));
        assert_eq!(of(&program("libc.so.6", &[], &["GLIBC_2.2.5", "GLIBC_2.41"])), versions);
    }
}
