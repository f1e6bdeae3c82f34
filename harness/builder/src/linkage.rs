// SPDX-License-Identifier: Apache-2.0
//! The net under the resolution of packages: whether all that a finished tree's programs and libraries
//! are linked with is there, in the tree, in the base, or in an extension before it.
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use globset::GlobSet;
use loadgauge_host::Store;
use loadgauge_images::Architecture;

use super::build_error::BuildError;
use super::elf::{self, Dlopen, Libraries, Object, UnresolvedLibrary, UnresolvedReason};
use super::recipe::Recipe;
use super::recipe_error::RecipeError;
use super::stage::{NodeKind, Staged};
use super::target::Target;
use super::{debian, gentoo, globs};

/// The programs and libraries of a tree.
#[derive(Debug, Default)]
pub(super) struct Linked {
    objects: Vec<(Utf8PathBuf, Object)>,
    libraries: Libraries,
    broken: Vec<String>,
}

/// Libraries that are wanted and not there.
#[derive(Debug, Default)]
pub(super) struct Unlinked {
    /// what will not start, or not load
    pub(super) missing: Vec<UnresolvedLibrary>,
    /// what may
    pub(super) warnings: Vec<String>,
}

impl Linked {
    /// Reads every ELF file of a tree that is for an architecture.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn of(staged: &Staged, architecture: Architecture) -> Result<Self, BuildError> {
        let mut linked = Self::default();
        let mut links = Vec::new();
        for (path, node) in staged.nodes() {
            match &node.kind {
                NodeKind::Directory => {}
                NodeKind::Link { target } => links.push((path.to_owned(), Utf8PathBuf::from(target))),
                NodeKind::File { .. } => {
                    let data = read(&staged.root().join(path))?;
                    match Object::read(&data, architecture) {
                        Ok(None) => {}
                        Ok(Some(object)) => {
                            linked.libraries.add(path, &object);
                            linked.objects.push((path.to_owned(), object));
                        }
                        Err(error) => linked.broken.push(format!("/{path} cannot be looked into: {error}")),
                    }
                }
            }
        }
        linked.libraries.add_links(&links);
        Ok(linked)
    }

    /// Whether any of it is linked with something.
    fn wants(&self) -> bool {
        self.objects.iter().any(|(_, object)| {
            !object.needed.is_empty() || object.interpreter.is_some() || !object.dlopens.is_empty()
        })
    }
}

/// Looks for what a finished tree's files need and nothing has.
///
/// Extensions that the recipe builds beyond are looked into only where something is missing without
/// them; `layers` gives their libraries.
///
/// # Errors
/// A file or the base cannot be read, or an extension before this one cannot be built.
pub(super) fn check(
    staged: &Staged,
    recipe: &Recipe,
    target: &Target<'_>,
    store: &Store,
    layers: &dyn Fn() -> Result<Vec<Libraries>, BuildError>,
) -> Result<Unlinked, BuildError> {
    let linked = Linked::of(staged, target.architecture)?;
    let mut found = Unlinked { warnings: linked.broken.clone(), ..Unlinked::default() };
    if !linked.wants() {
        return Ok(found);
    }
    let Some(root) = &target.root else {
        found.warnings.push("nothing is known of the base's libraries: whether there is all that its programs are linked with was not looked up".to_owned());
        return Ok(found);
    };
    let mut base = elf::index::of_base(root, &target.root_key(), target.architecture, store)?;
    let allowed = allowed(recipe)?;
    let mut missing = lacking(&linked, &base, &allowed);
    if !missing.is_empty() && !recipe.beyond.is_empty() {
        for layer in layers()? {
            base.overlay(layer);
        }
        missing = lacking(&linked, &base, &allowed);
    }
    for one in missing {
        // A library that is loaded already is not looked for: what loads a plugin may well have it.
        let is_program =
            linked.objects.iter().any(|(file, object)| *file == one.file && object.interpreter.is_some());
        if matches!(one.reason, UnresolvedReason::OutsideSearchPath(_)) && !is_program {
            found.warnings.push(format!("{one}, unless its program has loaded it"));
        } else {
            found.missing.push(one);
        }
    }
    found.warnings.extend(unloaded(&linked, &base, &allowed));
    Ok(found)
}

fn lacking(linked: &Linked, base: &Libraries, allowed: &GlobSet) -> Vec<UnresolvedLibrary> {
    let objects = linked.objects.iter().map(|(file, object)| (file.as_path(), object));
    let mut missing = elf::unresolved(objects, &linked.libraries, base);
    missing.retain(|one| !allowed.is_match(&one.library) && !globs::matches(allowed, &one.file));
    missing
}

/// What files say they load while they run, of which there is none, and that matters.
fn unloaded(linked: &Linked, base: &Libraries, allowed: &GlobSet) -> Vec<String> {
    let there = |name: &String| {
        [&linked.libraries, base].iter().any(|libraries| !libraries.paths_of(name).is_empty())
            || base.in_cache(name).is_some()
    };
    let mut found = Vec::new();
    for (file, object) in &linked.objects {
        for dlopen in object.dlopens.iter().filter(|dlopen| dlopen.priority != "suggested") {
            let spared =
                globs::matches(allowed, file) || dlopen.soname.iter().any(|name| allowed.is_match(name));
            if !spared && !dlopen.soname.iter().any(there) {
                found.push(loads(file, dlopen));
            }
        }
    }
    found
}

fn loads(file: &Utf8Path, dlopen: &Dlopen) -> String {
    let names: Vec<String> = dlopen.soname.iter().map(|name| format!("`{name}`")).collect();
    let mut text = format!("/{file} loads {} while it runs, which is not there", names.join(" or "));
    let what = if dlopen.description.is_empty() { &dlopen.feature } else { &dlopen.description };
    if !what.is_empty() {
        let _ = write!(
            text,
            " ({}: {what})",
            if dlopen.priority.is_empty() { "recommended" } else { &dlopen.priority }
        );
    }
    text
}

/// The globs of the recipe that say what may be missing: of libraries by their names, and of files
/// that need them by their paths.
fn allowed(recipe: &Recipe) -> Result<GlobSet, RecipeError> {
    globs::compile(recipe, &recipe.finish.missing_libraries)
}

/// Says each, with the packages that would bring the library where one is known.
pub(super) fn tell(
    missing: &[UnresolvedLibrary],
    recipe: &Recipe,
    target: &Target<'_>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> String {
    let mut lines = Vec::new();
    for one in missing {
        let mut packages = debian::packages_of_library(&one.library, recipe, target.base, store, progress);
        packages.extend(gentoo::packages_of_library(&one.library, recipe, target, store, progress));
        let mut line = one.to_string();
        if !packages.is_empty() {
            let names: Vec<String> = packages.iter().map(|name| format!("`{name}`")).collect();
            let _ = write!(line, "; {} should bring it", names.join(" or "));
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// The libraries of an extension that was built as a directory.
pub(super) fn of_directory(
    directory: &Utf8Path,
    key: &str,
    architecture: Architecture,
    store: &Store,
) -> Result<Libraries, BuildError> {
    Ok(elf::index::of_base(directory, key, architecture, store)?)
}

/// A file's bytes, if it is an ELF file; otherwise what it begins with.
fn read(path: &Utf8Path) -> Result<Vec<u8>, BuildError> {
    let mut data = Vec::new();
    let mut file = File::open(path).map_err(BuildError::io("open", path))?;
    let magic = elf::MAGIC;
    file.by_ref().take(magic.len() as u64).read_to_end(&mut data).map_err(BuildError::io("read", path))?;
    if data == magic {
        file.read_to_end(&mut data).map_err(BuildError::io("read", path))?;
    }
    Ok(data)
}
