// SPDX-License-Identifier: Apache-2.0
//! The `[[debian]]` sections of a recipe: which packages they need, and their files.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use camino::Utf8PathBuf;
use loadgauge_host::{CommandError, Entry, FileError, Hint, MissingTool, Store, StoreError, digest, fs};
use loadgauge_images::Base;
use serde::{Deserialize, Serialize};

use super::archive::{Archive, DebianArchiveError, Package};
use super::base_files;
use super::deb;
use super::index::Index;
use super::lookup::Universe;
use super::record::Record;
use super::resolve::{ResolveError, resolve};
use super::search::RECIPE;
use super::solution::{Reason, Solution};
use super::unmet::UnmetCause;
use crate::explain::{Explained, Explanation, Need};
use crate::globs;
use crate::owned_files::CollisionError;
use crate::recipe::{DebianSection, Recipe, RecipeError};
use crate::stage::Staged;
use crate::target::Target;
use crate::unpack::UnpackError;

/// Version of the stored resolutions; to be increased when their format changes, or the result of the
/// same resolution.
const FORMAT: &str = "3";
/// The file of a store entry.
const PACKAGES: &str = "packages.json";

/// Debian packages that cannot be added to an extension.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// the image has no dpkg database
    #[error("cannot resolve the Debian packages of `{recipe}`: the image has no dpkg database")]
    NoBase {
        /// name of the recipe
        recipe: String,
    },
    /// the recipe or one of its base extensions is invalid
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// the archive cannot be used
    #[error(transparent)]
    Archive(#[from] DebianArchiveError),
    /// the packages cannot be resolved
    #[error("cannot add the packages to the base: {0}")]
    Resolve(#[from] ResolveError),
    /// a package cannot be unpacked
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// packages contain files of packages in the base
    #[error(transparent)]
    Collision(#[from] CollisionError),
    /// the files of the base cannot be read
    #[error("cannot read the lists of files in `{path}`")]
    BaseFiles {
        /// the squashfs of the base
        path: Utf8PathBuf,
        /// the failure of unsquashfs
        source: CommandError,
    },
    /// the host has no unsquashfs
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
    /// a file cannot be read or written
    #[error(transparent)]
    File(#[from] FileError),
}

impl DebianError {
    /// Whether the cause is the host or its network, not the recipe.
    pub fn is_host(&self) -> bool {
        match self {
            Self::NoBase { .. }
            | Self::Recipe(_)
            | Self::Unpack(_)
            | Self::Resolve(_)
            | Self::Collision(_) => false,
            Self::BaseFiles { .. } | Self::Missing(_) | Self::Archive(_) | Self::Store(_) | Self::File(_) => {
                true
            }
        }
    }
}

impl Hint for DebianError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoBase { .. } => {
                Some("build for a stand-in image, or use files and trees instead of packages".to_owned())
            }
            Self::Recipe(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Resolve(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Collision(error) => error.hint(),
            Self::Missing(error) => error.hint(),
            Self::BaseFiles { .. } | Self::Unpack(_) | Self::Store(_) => None,
        }
    }
}

/// The packages of each `[[debian]]` section of a recipe: the named ones and their dependencies, without
/// those that are in the base, in a base extension or in an earlier section.
pub(super) type Groups = Vec<Vec<Package>>;

/// The packages of a recipe, and why it needs them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Resolved {
    /// the packages by section
    pub(crate) groups: Groups,
    /// why they are needed
    pub(crate) explanation: Explanation,
}

/// Resolves the packages of the last recipe of a chain; the others are its base extensions.
///
/// The result is stored under the base and the names of the packages: the same recipe gives the same
/// extension until the cache is emptied, even if the archive is updated.
///
/// # Errors
/// See [`DebianError`].
pub(crate) fn resolve_recipe(
    chain: &[&Recipe],
    base: Option<&Base>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Resolved, DebianError> {
    let Some(recipe) = chain.last() else { return Ok(Resolved::default()) };
    let base = base.ok_or_else(|| DebianError::NoBase { recipe: recipe.name().to_owned() })?;
    let key = key(chain, base);
    let vacancy = match store.entry("packages", &key)? {
        Entry::Ready(directory) => {
            let path = directory.join(PACKAGES);
            return Ok(serde_json::from_slice(&fs::read(&path)?)
                .map_err(|error| FileError::at("read", &path)(error.into()))?);
        }
        Entry::Vacant(vacancy) => vacancy,
    };
    let archive = Archive::open(base, allows_expired(recipe), store, progress)?;
    progress("resolving the Debian packages");
    let resolved = resolve_chain(chain, base, &Index::of_archive(archive.index()?))?;
    let path = vacancy.directory().join(PACKAGES);
    let text = serde_json::to_string_pretty(&resolved)
        .map_err(|error| FileError::at("write", &path)(error.into()))?;
    fs::write(&path, text)?;
    vacancy.commit()?;
    Ok(resolved)
}

/// Resolves base extensions and then the recipe, each on top of those before it; returns the packages of
/// the last.
fn resolve_chain(chain: &[&Recipe], base: &Base, archive: &Index) -> Result<Resolved, DebianError> {
    let mut installed = Index::of_status(fs::read(&base.dpkg_status)?);
    let mut resolved = Resolved::default();
    for member in chain {
        resolved = Resolved::default();
        for section in &member.debian {
            let names: Vec<&str> = section.packages.iter().map(|name| name.get_ref().as_str()).collect();
            let universe = Universe { installed: &installed, archive };
            let excluded = section.exclude_packages.iter().map(|name| name.get_ref().clone()).collect();
            let solution = resolve(universe, &names, section.recommends, &excluded)
                .map_err(|error| unresolved(member, section, error))?;
            for added in &solution.added {
                if let Some(paragraph) = archive.paragraph(&added.record) {
                    installed = installed.with_installed(paragraph);
                }
            }
            resolved.explanation.extend(explain(&solution));
            resolved.groups.push(solution.added.into_iter().map(|added| package(added.record)).collect());
        }
    }
    Ok(resolved)
}

/// The error of a resolution at the package of the recipe that leads to it.
fn unresolved(recipe: &Recipe, section: &DebianSection, error: ResolveError) -> DebianError {
    let ResolveError::Unmet(unmet) = &error else { return error.into() };
    let first = match (&unmet.cause, unmet.chain.first()) {
        (_, Some(link)) => link.split(' ').next().unwrap_or_default(),
        (UnmetCause::UnknownPackage { name, .. }, None) => name,
        (UnmetCause::Conflict { package, other, .. }, None) => {
            let named = |text: &&String| {
                let name = text.split(' ').next().unwrap_or_default();
                section.packages.iter().any(|package| package.get_ref() == name)
            };
            [package, other].into_iter().find(named).map_or("", |text| text.split(' ').next().unwrap_or(""))
        }
        (UnmetCause::NoSuchVersion { .. }, None) => "",
    };
    let at = section.packages.iter().find(|package| package.get_ref() == first);
    match at.or(section.packages.first()) {
        Some(at) => {
            let cause = format!("cannot add the packages to the base: {error}");
            recipe.error(at, cause, &error.hint().unwrap_or_default()).into()
        }
        None => error.into(),
    }
}

fn package(record: Record) -> Package {
    let Record { name, version, architecture, sha256, size, .. } = record;
    Package { name, version: version.as_str().to_owned(), architecture, sha256, size }
}

fn explain(solution: &Solution) -> Explanation {
    let taken = solution.added.iter().map(|added| Explained {
        package: format!("{} {}", added.record.name, added.record.version),
        needs: vec![need(&added.reason, &added.record.name)],
        note: added.replaces.as_ref().map(|version| format!("replaces the base's {version}")),
    });
    let mut present: BTreeMap<String, Explained> = BTreeMap::new();
    for installed in &solution.already_installed {
        let package = format!("{} {}", installed.name, installed.version);
        let explained = present.entry(installed.name.clone()).or_insert_with(|| Explained {
            package,
            needs: Vec::new(),
            note: None,
        });
        let by = (installed.needed_by != RECIPE).then(|| installed.needed_by.clone());
        explained.needs.push(Need { by, how: installed.name.clone() });
    }
    let mut provided: BTreeMap<String, Explained> = BTreeMap::new();
    for (package, by, how) in &solution.excluded {
        let new = || Explained { package: package.clone(), needs: Vec::new(), note: None };
        let explained = provided.entry(package.clone()).or_insert_with(new);
        explained.needs.push(Need { by: Some(by.clone()), how: how.clone() });
    }
    let (present, provided) = (present.into_values().collect(), provided.into_values().collect());
    Explanation { taken: taken.collect(), present, provided }
}

fn need(reason: &Reason, name: &str) -> Need {
    match reason {
        Reason::Requested => Need { by: None, how: name.to_owned() },
        Reason::Dependency { by, relation } => Need { by: Some(by.clone()), how: relation.clone() },
        Reason::Recommended { by } => Need { by: Some(by.clone()), how: format!("{name} (recommended)") },
        Reason::Upgrade { by } => {
            Need { by: Some(by.clone()), how: format!("a newer {name} than the base's") }
        }
    }
}

/// Fetches the packages that are not in the store, and unpacks all of them into a stage; returns the
/// files that were skipped because they are outside /usr and /opt.
///
/// # Errors
/// See [`DebianError`].
pub(crate) fn stage(
    staged: &mut Staged,
    recipe: &Recipe,
    groups: &Groups,
    target: &Target<'_>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Vec<Utf8PathBuf>, DebianError> {
    let missing: Vec<Package> =
        groups.iter().flatten().filter(|package| package.stored(store).is_none()).cloned().collect();
    if !missing.is_empty() {
        let no_base = || DebianError::NoBase { recipe: recipe.name().to_owned() };
        let base = target.base.ok_or_else(no_base)?;
        let megabytes = missing.iter().map(|package| package.size).sum::<u64>() / 1_000_000;
        let archive = Archive::open(base, allows_expired(recipe), store, progress)?;
        progress(&format!("fetching {} packages, {megabytes} MB", missing.len()));
        archive.fetch(&missing, store)?;
    }
    let (mut dropped, mut added) = (Vec::new(), BTreeMap::new());
    for (section, packages) in recipe.debian.iter().zip(groups) {
        let exclude = globs::compile(recipe, &section.exclude)?;
        for package in packages {
            let file = package.stored(store).unwrap_or_default();
            progress(&format!("unpacking {} {}", package.name, package.version));
            dropped.extend(deb::unpack(staged, &file, &package.file_name(), &exclude)?.dropped);
            added.insert(package.file_name(), (package.name.clone(), file));
        }
    }
    check_collisions(staged, recipe, &added, target, store)?;
    Ok(dropped)
}

/// Checks that the packages contain no file of a package in the base, except of one that is added in another
/// version, or that they replace (Debian policy 7.6). `added` has names and paths by package file.
fn check_collisions(
    staged: &Staged,
    recipe: &Recipe,
    added: &BTreeMap<String, (String, Utf8PathBuf)>,
    target: &Target<'_>,
    store: &Store,
) -> Result<(), DebianError> {
    let files = base_files::owned_files(target, store)?;
    let packages: BTreeSet<String> = added.keys().cloned().collect();
    let names: BTreeSet<&str> = added.values().map(|(name, _)| name.as_str()).collect();
    let ignored = recipe.debian.iter().flat_map(|section| &section.collision_ignore).cloned();
    let ignored = globs::compile(recipe, &ignored.collect::<Vec<_>>())?;
    let may_replace = |package: &str, owner: &str| {
        let file = added.get(package).map(|(_, file)| file);
        names.contains(owner) || file.is_some_and(|file| base_files::replaces(file, owner))
    };
    Ok(files.check(staged, &packages, &may_replace, &ignored)?)
}

/// The packages with their versions and digests, one on a line.
pub(crate) fn list(groups: &Groups) -> String {
    let mut packages: Vec<&Package> = groups.iter().flatten().collect();
    packages.sort_by(|left, right| left.name.cmp(&right.name));
    let mut text = String::new();
    for package in packages {
        let Package { name, version, architecture, sha256, .. } = package;
        let _ = writeln!(text, "{name} {version} {architecture} sha256:{sha256}");
    }
    text
}

/// Whether a recipe uses an archive whose index has expired.
pub(super) fn allows_expired(recipe: &Recipe) -> bool {
    recipe.debian.iter().any(|section| section.allow_expired)
}

fn key(chain: &[&Recipe], base: &Base) -> String {
    let mut parts =
        vec![FORMAT.to_owned(), base.digest.clone(), base.archive.mirror.clone(), base.archive.suite.clone()];
    for section in chain.iter().flat_map(|recipe| &recipe.debian) {
        parts.push(format!("recommends {}", section.recommends));
        parts.extend(section.packages.iter().map(|name| name.get_ref().clone()));
        let excluded = section.exclude_packages.iter().map(|name| format!("without {}", name.get_ref()));
        parts.extend(excluded);
    }
    digest::of_parts(parts)
}
