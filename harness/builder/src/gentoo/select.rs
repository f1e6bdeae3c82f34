// SPDX-License-Identifier: Apache-2.0
//! The resolution of the `[[gentoo]]` sections of a recipe.
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::error::on_one_line;
use loadgauge_host::{Hint as _, Store};
use loadgauge_images::Architecture;
use toml::Spanned;

use super::atom::Atom;
use super::base::{self, BaseError};
use super::binhost::Binhost;
use super::binhost_error::BinhostError;
use super::error::GentooError;
use super::package::Package;
use super::pool::{Origin, PackageId, PackagePool};
use super::provided;
use super::resolve::{ProvidedPackage, Resolution, ResolvedPackage, resolve};
use super::sdk;
use super::section::atoms;
use super::selection::{SelectedPackage, Selection};
use super::use_rule::UseRule;
use crate::explain::{Explained, Explanation, Need};
use crate::recipe::{GentooSection, Recipe};
use crate::target::Target;

/// Flatcar's binhost of a release.
const FLATCAR: &str = "https://mirror.release.flatcar-linux.net/boards/{board}/{version-id}/pkgs/";

/// An installed package, and the layer that has it: `the base`, or an extension.
type Installed = (Package, Arc<str>);

/// Resolves and fetches the packages of the last recipe of a chain, section by section. The packages of the
/// base, of the other recipes, which are its base extensions, and of earlier sections count as installed.
/// Nothing is fetched where only the explanation is wanted.
///
/// # Errors
/// See [`GentooError`].
pub(crate) fn select(
    chain: &[&Recipe],
    target: &Target<'_>,
    store: &Store,
    is_fetched: bool,
    progress: &dyn Fn(&str),
) -> Result<Selection, GentooError> {
    let Some(recipe) = chain.last() else { return Ok(Selection::default()) };
    let base = target.portage.as_ref().ok_or_else(|| GentooError::NoBase(recipe.name().to_owned()))?;
    let layer: Arc<str> = Arc::from("the base");
    let mut installed: Vec<Installed> =
        base::packages(base, store)?.into_iter().map(|package| (package, Arc::clone(&layer))).collect();
    progress("resolving the Gentoo packages");
    let mut selection = Selection::default();
    for (index, member) in chain.iter().enumerate() {
        selection = Selection::default();
        let is_last = index + 1 == chain.len();
        let layer: Arc<str> = Arc::from(format!("the extension `{}`", member.name()));
        for database in &member.base_packages {
            let path = member.beside(database.get_ref());
            let layer: Arc<str> = Arc::from(format!("the packages `{}`", database.get_ref()));
            let packages =
                base::packages(&path, store).map_err(|error| unusable_database(member, database, error))?;
            installed.extend(packages.into_iter().map(|package| (package, Arc::clone(&layer))));
        }
        for section in &member.gentoo {
            let binhost = binhost_of(member, section, target);
            let (pool, mut warnings) =
                pool_of(member, section, target, &binhost, &installed, store, progress)?;
            let resolution = resolve(&pool, &atoms(section)).map_err(|error| {
                let at = section.packages.first().unwrap_or(&member.name);
                member.error(at, error.to_string(), &error.hint().unwrap_or_default())
            })?;
            warnings.extend(resolution.warnings.iter().cloned());
            let mut group = Vec::new();
            for added in &resolution.added {
                let package = pool.package(added.id);
                if is_last && is_fetched {
                    group.push(fetch(package, &binhost, store, progress)?);
                }
                installed.push((package.clone(), Arc::clone(&layer)));
            }
            selection.groups.push(group);
            selection.explanation.extend(explain(&pool, &resolution));
            selection.warnings.append(&mut warnings);
        }
    }
    Ok(selection)
}

/// The error of a package database at its place in the recipe, unless the host is the cause.
fn unusable_database(recipe: &Recipe, database: &Spanned<Utf8PathBuf>, error: BaseError) -> GentooError {
    if error.is_host() {
        return error.into();
    }
    let hint = "name a squashfs or directory with `var/db/pkg`, such as `NAME_pkginfo.raw` of an extension";
    recipe.error(database, on_one_line(&error), hint).into()
}

/// The binhost of a section.
pub(super) fn binhost_of(recipe: &Recipe, section: &GentooSection, target: &Target<'_>) -> Binhost {
    let text = section.binhost.as_ref().map_or(FLATCAR, |text| text.get_ref());
    if !text.contains("://") {
        return Binhost::Directory(recipe.beside(Utf8Path::new(text)));
    }
    let board = match target.architecture {
        Architecture::Amd64 => "amd64-usr",
        Architecture::Arm64 => "arm64-usr",
    };
    let version = target.os_release.get("VERSION_ID").unwrap_or_default();
    let url = text.replace("{board}", board).replace("{version-id}", version);
    Binhost::Url(if url.ends_with('/') { url } else { format!("{url}/") })
}

/// The packages that a section is resolved with, and warnings for those of the binhost that are ignored.
fn pool_of(
    recipe: &Recipe,
    section: &GentooSection,
    target: &Target<'_>,
    binhost: &Binhost,
    installed: &[Installed],
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(PackagePool, Vec<String>), GentooError> {
    let (mut pool, mut warnings) = (PackagePool::default(), Vec::new());
    for (package, layer) in installed {
        let mut package = package.clone();
        if !section.install_dependencies {
            package.dependencies.install.clear();
        }
        pool.add_installed(package, layer);
    }
    let major = sdk::major(target.os_release);
    for name in sdk::entries(sdk::SYSTEM, major) {
        pool.add_system(name);
    }
    for metadata in &binhost.index(store, progress)?.packages {
        match Package::of_index(metadata) {
            Ok(mut package) => {
                if !section.install_dependencies {
                    package.dependencies.install.clear();
                }
                pool.add_available(package, 0);
            }
            Err(error) => {
                let name = metadata.get("CPV").map(String::as_str).unwrap_or_default();
                warnings.push(format!("ignoring the package `{name}` of the binhost: {error}"));
            }
        }
    }
    for rule in section.package_use.iter().filter_map(|text| UseRule::parse(text.get_ref())) {
        pool.add_use_rule(rule);
    }
    provided::provide(&mut pool, recipe, section, major)?;
    Ok((pool, warnings))
}

fn fetch(
    package: &Package,
    binhost: &Binhost,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<SelectedPackage, GentooError> {
    let Some(file) = &package.file else {
        return Err(BinhostError::Path(package.to_string()).into());
    };
    progress(&format!("package {package}"));
    let file = binhost.file(file, store)?;
    Ok(SelectedPackage {
        name: package.name.clone(),
        version: package.version.to_string(),
        repository: package.repository.clone(),
        path: file.path,
        sha256: file.sha256,
        size: file.size,
    })
}

fn explain(pool: &PackagePool, resolution: &Resolution) -> Explanation {
    let name = |id: PackageId| pool.package(id).to_string();
    let explained = |package: &ResolvedPackage| {
        let needs =
            package.parents.iter().map(|(parent, atom)| Need { by: parent.map(name), how: atom.to_string() });
        let note = match (&pool.entry(package.id).origin, package.hides) {
            (Origin::Layer(layer), _) => Some(format!("in {layer}")),
            (Origin::Binhost(_), Some(hidden)) => match &pool.entry(hidden).origin {
                Origin::Layer(layer) => Some(format!("hides {} of {layer}", name(hidden))),
                Origin::Binhost(_) => None,
            },
            (Origin::Binhost(_), None) => None,
        };
        Explained { package: name(package.id), needs: needs.collect(), note }
    };
    let provided = |provided: &ProvidedPackage| {
        let need =
            |(parent, atom): &(PackageId, Atom)| Need { by: Some(name(*parent)), how: atom.to_string() };
        let needs = provided.parents.iter().map(need).collect();
        Explained { package: provided.package.clone(), needs, note: None }
    };
    Explanation {
        provided: resolution.provided.iter().map(provided).collect(),
        taken: resolution.added.iter().map(explained).collect(),
        present: resolution.already_installed.iter().map(explained).collect(),
    }
}
