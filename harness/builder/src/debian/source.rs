// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use camino::Utf8PathBuf;
use loadgauge_host::{Entry, Store, StoreError};
use loadgauge_images::Base;
use serde::{Deserialize, Serialize};

use super::super::explain::{Explained, Explanation, Need};
use super::super::globs;
use super::super::recipe::{Recipe, RecipeError};
use super::super::stage::Staged;
use super::super::unpack::UnpackError;
use super::archive::{Archive, DebianArchiveError, Package};
use super::deb;
use super::index::Index;
use super::record::Record;
use super::resolve::{RECIPE, ResolveError, Universe, resolve};
use super::solution::{Reason, Solution};
use loadgauge_host::digest;

/// Rises when what is kept of a resolution changes, or others come out of the same.
const FORMAT: &str = "2";

/// What keeps Debian packages out of an extension.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// packages are wanted and there is nothing to resolve them against
    #[error("`{recipe}` takes Debian packages, and the image has no package database to build against")]
    NoBase {
        /// the recipe
        recipe: String,
    },
    /// the recipe or one that it builds beyond is wrong
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// the archive cannot be asked
    #[error(transparent)]
    Archive(#[from] DebianArchiveError),
    /// the packages that the base has cannot be read
    #[error("cannot read the base's packages in `{path}`")]
    Status {
        /// dpkg's status file
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
    /// they cannot be had, or do not go together
    #[error("the packages cannot be added to the base: {0}")]
    Resolve(#[from] ResolveError),
    /// one cannot be unpacked
    #[error(transparent)]
    Deb(#[from] UnpackError),
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
    /// the list of packages cannot be kept
    #[error("cannot keep the list of packages `{path}`")]
    Keep {
        /// which
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
}

impl DebianError {
    /// Whether the host or its network lacks something, rather than the recipe being wrong.
    pub fn is_host(&self) -> bool {
        match self {
            Self::NoBase { .. } | Self::Recipe(_) | Self::Deb(_) | Self::Resolve(_) => false,
            Self::Archive(_) | Self::Store(_) | Self::Keep { .. } | Self::Status { .. } => true,
        }
    }
}

impl Hint for DebianError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoBase { .. } => {
                Some("build for a stand-in image, or take files and trees into the recipe instead".to_owned())
            }
            Self::Recipe(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Resolve(ResolveError::Unsatisfiable(error)) => error.hint(),
            _ => None,
        }
    }
}

/// The packages of each `[[debian]]` of a recipe: those named and what they need beyond the base,
/// the recipes of `beyond` and the sections before.
pub type Groups = Vec<Vec<Package>>;

/// What a recipe takes, and why.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Resolved {
    /// in the order of its sections
    pub(crate) groups: Groups,
    /// of all of it
    pub(crate) explanation: Explanation,
}

/// Finds out which packages the last of some recipes takes, over those before it.
///
/// What was found is kept in the store under the base and the names asked for, so that the same
/// recipe gives the same extension until the cache is emptied, whatever the archive gets meanwhile.
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
        Entry::Ready(path) => {
            let file = path.join("packages.json");
            let keep = |source| DebianError::Keep { path: file.clone(), source };
            let text = fs::read_to_string(&file).map_err(keep)?;
            return serde_json::from_str(&text).map_err(|error| keep(error.into()));
        }
        Entry::Vacant(vacancy) => vacancy,
    };
    let archive = Archive::open(base, store, progress)?;
    progress("what the packages need beyond the base");
    let resolved = resolve_chain(chain, base, &Index::of_archive(archive.index()?))?;
    let file = vacancy.directory().join("packages.json");
    let keep = |source| DebianError::Keep { path: file.clone(), source };
    let text = serde_json::to_string_pretty(&resolved).map_err(|error| keep(error.into()))?;
    fs::write(&file, text).map_err(keep)?;
    vacancy.commit()?;
    Ok(resolved)
}

/// Resolves recipes one after another, each beyond those before; what the last one takes is the answer.
fn resolve_chain(chain: &[&Recipe], base: &Base, archive: &Index) -> Result<Resolved, DebianError> {
    let status = fs::read(&base.dpkg_status)
        .map_err(|source| DebianError::Status { path: base.dpkg_status.clone(), source })?;
    let mut installed = Index::of_status(status);
    let mut resolved = Resolved::default();
    for member in chain {
        resolved = Resolved::default();
        for section in &member.debian {
            let names: Vec<&str> = section.packages.iter().map(|name| name.get_ref().as_str()).collect();
            let universe = Universe { installed: &installed, archive };
            let solution = resolve(universe, &names, section.recommends)?;
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

fn package(record: Record) -> Package {
    let Record { name, version, architecture, sha256, size, .. } = record;
    Package { name, version: version.as_str().to_owned(), architecture, sha256, size }
}

fn explain(solution: &Solution) -> Explanation {
    let taken = solution.added.iter().map(|added| Explained {
        package: format!("{} {}", added.record.name, added.record.version),
        needs: vec![need(&added.reason, &added.record.name)],
        note: added.replaces.as_ref().map(|version| format!("covers the base's {version}")),
    });
    let mut present: BTreeMap<String, Explained> = BTreeMap::new();
    for one in &solution.present {
        let package = format!("{} {}", one.name, one.version);
        let explained = present.entry(one.name.clone()).or_insert_with(|| Explained {
            package,
            needs: Vec::new(),
            note: None,
        });
        let by = (one.needed_by != RECIPE).then(|| one.needed_by.clone());
        explained.needs.push(Need { by, how: one.name.clone() });
    }
    Explanation { taken: taken.collect(), present: present.into_values().collect() }
}

fn need(reason: &Reason, name: &str) -> Need {
    match reason {
        Reason::Asked => Need { by: None, how: name.to_owned() },
        Reason::Needed { by, relation } => Need { by: Some(by.clone()), how: relation.clone() },
        Reason::Recommended { by } => Need { by: Some(by.clone()), how: format!("{name} (recommended)") },
        Reason::Outdated { by } => {
            Need { by: Some(by.clone()), how: format!("a newer {name} than the base's") }
        }
    }
}

/// Unpacks the packages into a stage, fetching those that the store lacks, and says what they
/// brought that an extension does not hold.
///
/// # Errors
/// See [`DebianError`].
pub(crate) fn stage(
    staged: &mut Staged,
    recipe: &Recipe,
    groups: &Groups,
    base: Option<&Base>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Vec<Utf8PathBuf>, DebianError> {
    let missing: Vec<Package> =
        groups.iter().flatten().filter(|package| package.kept(store).is_none()).cloned().collect();
    if !missing.is_empty() {
        let base = base.ok_or_else(|| DebianError::NoBase { recipe: recipe.name().to_owned() })?;
        let megabytes = missing.iter().map(|package| package.size).sum::<u64>() / 1_000_000;
        let archive = Archive::open(base, store, progress)?;
        progress(&format!("{} packages from the archive, {megabytes} MB", missing.len()));
        archive.fetch(&missing, store)?;
    }
    let mut dropped = Vec::new();
    for (section, packages) in recipe.debian.iter().zip(groups) {
        let exclude = globs::compile(recipe, &section.exclude)?;
        for package in packages {
            let file = package.kept(store).unwrap_or_default();
            progress(&format!("unpacking {} {}", package.name, package.version));
            dropped.extend(deb::unpack(staged, &file, &package.file_name(), &exclude)?.dropped);
        }
    }
    Ok(dropped)
}

/// The list of packages that is written beside an extension.
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

fn key(chain: &[&Recipe], base: &Base) -> String {
    let mut parts =
        vec![FORMAT.to_owned(), base.digest.clone(), base.archive.mirror.clone(), base.archive.suite.clone()];
    for section in chain.iter().flat_map(|recipe| &recipe.debian) {
        parts.push(format!("recommends {}", section.recommends));
        parts.extend(section.packages.iter().map(|name| name.get_ref().clone()));
    }
    digest::of_parts(parts)
}
