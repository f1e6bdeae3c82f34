// SPDX-License-Identifier: Apache-2.0
//! The check that every library that the programs and libraries of an extension are linked with exists
//! in the extension, the base, or a base extension. It finds what the resolution of packages missed.
use std::fmt::Write as _;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use globset::GlobSet;
use loadgauge_host::{FileError, Store, fs};
use loadgauge_images::Architecture;

use super::build_error::BuildError;
use super::elf::{self, Dlopen, Libraries, Object, UnresolvedLibrary, UnresolvedReason};
use super::globs;
use super::recipe::{Recipe, RecipeError};
use super::source::Context;
use super::stage::{NodeKind, Staged};

/// The programs and libraries of a tree.
#[derive(Debug, Default)]
struct Objects {
    files: Vec<(Utf8PathBuf, Object)>,
    libraries: Libraries,
    /// warnings about files that cannot be parsed
    unreadable: Vec<String>,
}

/// The result of the check.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// libraries without which a program does not start or a library does not load
    pub(super) missing: Vec<UnresolvedLibrary>,
    /// doubts
    pub(super) warnings: Vec<String>,
}

impl Objects {
    /// Reads every ELF file of a tree that is of an architecture.
    ///
    /// # Errors
    /// A file cannot be read.
    fn of(staged: &Staged, architecture: Architecture) -> Result<Self, BuildError> {
        let mut found = Self::default();
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
                            found.libraries.add(path, &object);
                            found.files.push((path.to_owned(), object));
                        }
                        Err(error) => {
                            found.unreadable.push(format!("/{path} is not a valid ELF file: {error}"));
                        }
                    }
                }
            }
        }
        found.libraries.add_links(&links);
        Ok(found)
    }

    /// Whether any of them needs a library.
    fn need_libraries(&self) -> bool {
        self.files.iter().any(|(_, object)| {
            !object.needed.is_empty() || object.interpreter.is_some() || !object.dlopens.is_empty()
        })
    }
}

/// Checks the libraries of a complete tree.
///
/// `base_extensions` builds the base extensions and returns their libraries; it is called only where a
/// library is missing without them.
///
/// # Errors
/// A file or the base cannot be read, or a base extension cannot be built.
pub(super) fn check(
    staged: &Staged,
    context: &Context<'_>,
    base_extensions: &dyn Fn() -> Result<Vec<Libraries>, BuildError>,
) -> Result<Report, BuildError> {
    let Context { recipe, target, store, .. } = *context;
    let mut objects = Objects::of(staged, target.architecture)?;
    let warnings = std::mem::take(&mut objects.unreadable);
    let mut report = Report { warnings, ..Report::default() };
    if !objects.need_libraries() {
        return Ok(report);
    }
    let Some(root) = &target.root else {
        let warning = "the libraries of its programs were not checked: the base's libraries are not known";
        report.warnings.push(warning.to_owned());
        return Ok(report);
    };
    let mut base = elf::index::of_base(root, &target.root_key(), target.architecture, store)?;
    let allowed = allowed(recipe)?;
    let mut missing = missing(&objects, &base, &allowed);
    if !missing.is_empty() && !context.base_extensions.is_empty() {
        for libraries in base_extensions()? {
            base.overlay(libraries);
        }
        missing = self::missing(&objects, &base, &allowed);
    }
    for one in missing {
        // The loader does not search for a library that the process has loaded already, as the program
        // of a plugin may have.
        let is_program =
            objects.files.iter().any(|(file, object)| *file == one.file && object.interpreter.is_some());
        if matches!(one.reason, UnresolvedReason::OutsideSearchPath(_)) && !is_program {
            report.warnings.push(format!("{one}, unless its program has loaded the library"));
        } else {
            report.missing.push(one);
        }
    }
    report.warnings.extend(missing_dlopens(&objects, &base, &allowed));
    Ok(report)
}

fn missing(objects: &Objects, base: &Libraries, allowed: &GlobSet) -> Vec<UnresolvedLibrary> {
    let files = objects.files.iter().map(|(file, object)| (file.as_path(), object));
    let mut missing = elf::unresolved(files, &objects.libraries, base);
    missing.retain(|one| !allowed.is_match(&one.library) && !globs::matches(allowed, &one.file));
    missing
}

/// Warnings about missing libraries that files load with dlopen(3), according to their notes.
fn missing_dlopens(objects: &Objects, base: &Libraries, allowed: &GlobSet) -> Vec<String> {
    let there = |name: &String| {
        [&objects.libraries, base].iter().any(|libraries| !libraries.paths_of(name).is_empty())
            || base.in_cache(name).is_some()
    };
    let mut found = Vec::new();
    for (file, object) in &objects.files {
        for dlopen in object.dlopens.iter().filter(|dlopen| dlopen.priority != "suggested") {
            let is_allowed =
                globs::matches(allowed, file) || dlopen.soname.iter().any(|name| allowed.is_match(name));
            if !is_allowed && !dlopen.soname.iter().any(there) {
                found.push(dlopen_warning(file, dlopen));
            }
        }
    }
    found
}

fn dlopen_warning(file: &Utf8Path, dlopen: &Dlopen) -> String {
    let names: Vec<String> = dlopen.soname.iter().map(|name| format!("`{name}`")).collect();
    let mut text = format!("/{file} loads {} at run time, which is missing", names.join(" or "));
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

/// The recipe's globs of libraries that may be missing: their names, or the paths of files that need them.
fn allowed(recipe: &Recipe) -> Result<GlobSet, RecipeError> {
    globs::compile(recipe, &recipe.finish.allow_missing_libraries)
}

/// A line about a missing library, with the packages that should contain it.
pub(super) fn line(missing: &UnresolvedLibrary, providers: &[String]) -> String {
    if providers.is_empty() {
        return missing.to_string();
    }
    let names: Vec<String> = providers.iter().map(|name| format!("`{name}`")).collect();
    format!("{missing}; {} should contain it", names.join(" or "))
}

/// The libraries of an extension that is a directory.
pub(super) fn of_directory(
    directory: &Utf8Path,
    key: &str,
    architecture: Architecture,
    store: &Store,
) -> Result<Libraries, BuildError> {
    Ok(elf::index::of_base(directory, key, architecture, store)?)
}

/// The bytes of an ELF file, or the first bytes of another file.
fn read(path: &Utf8Path) -> Result<Vec<u8>, BuildError> {
    let mut data = Vec::new();
    let mut file = fs::open(path)?;
    let magic = elf::MAGIC;
    file.by_ref().take(magic.len() as u64).read_to_end(&mut data).map_err(FileError::at("read", path))?;
    if data == magic {
        file.read_to_end(&mut data).map_err(FileError::at("read", path))?;
    }
    Ok(data)
}
