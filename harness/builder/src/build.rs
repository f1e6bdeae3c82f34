// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, Store};
use loadgauge_images::{Architecture, OsRelease};
use serde::{Deserialize, Serialize};

use super::archive;
use super::assemble;
use super::build_error::BuildError;
use super::compatible::compatible;
use super::debian::Package;
use super::debian::{self, Groups};
use super::describe::{self, Component, Input, Listing, Material, Subject};
use super::elf::Libraries;
use super::explain::Explanation;
use super::gentoo::{self, SelectedPackage, Selection};
use super::image;
use super::inputs;
use super::linkage;
use super::lint;
use super::mangle::Environment;
use super::pack::{self, Identity, PackError, Packing};
use super::recipe::{Recipe, check_name};
use super::recipe_error::RecipeError;
use super::release_file::{About, extension_release};
use super::signing::KeyPair;
use super::stage::Staged;
use super::target::Target;
use super::{Extension, Format};
use loadgauge_host::digest;

/// The time of everything in an extension where neither `SOURCE_DATE_EPOCH` nor the recipe says
/// otherwise: the first of January 2024.
const EPOCH: u32 = 1_704_067_200;

/// Rises whenever the builder gives other bytes for the same inputs, so that what it built before
/// is not taken for what it would build now.
const REVISION: u32 = 4;

/// An extension that was built, now or before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// the extension
    pub extension: Extension,
    /// Debian packages that went into it
    pub packages: Vec<Package>,
    /// Gentoo packages that went into it
    #[serde(default)]
    pub gentoo: Vec<SelectedPackage>,
    /// why packages are in it
    #[serde(default)]
    pub explanation: Explanation,
    /// what the packages brought outside /usr and /opt
    pub dropped: Vec<Utf8PathBuf>,
    /// programs in it that run with the rights of their owner or group, relative to the root
    pub set_id: Vec<Utf8PathBuf>,
    /// names of the files about it that lie beside it
    pub described: Vec<String>,
    /// what its author should know
    pub warnings: Vec<String>,
    /// whether it was built before
    #[serde(default)]
    pub cached: bool,
}

/// Builds an extension, or finds it built before.
///
/// A build is kept under everything that decides its bytes: the recipe, the files it names, the
/// packages that were found for it, the fields of its extension-release file, the packer and its
/// version, and the time. Which packages are found is kept too (see [`debian::resolve`]).
/// `progress` is told in a few words what is being done.
///
/// # Errors
/// See [`BuildError`].
pub fn build(
    recipe: &Recipe,
    target: &Target<'_>,
    format: Format,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Built, BuildError> {
    let plan = Plan::new(recipe, target, format, store, progress)?;
    match store.entry("sysext", &plan.key)? {
        Entry::Ready(path) => plan.read(&path),
        Entry::Vacant(vacancy) => {
            plan.make(vacancy.directory())?;
            let path = vacancy.commit()?;
            Ok(Built { cached: false, ..plan.read(&path)? })
        }
    }
}

/// Says why packages go into an extension, and which of those that they need are there already.
/// Nothing is built.
///
/// # Errors
/// See [`BuildError`].
pub fn explain(
    recipe: &Recipe,
    target: &Target<'_>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Explanation, BuildError> {
    let mut explanation = debian::resolve_recipe(recipe, target.base, store, progress)?.explanation;
    explanation.extend(gentoo::select(recipe, target, store, progress)?.explanation);
    Ok(explanation)
}

/// Builds an extension a second time, elsewhere, and compares it with the kept one.
///
/// # Errors
/// See [`BuildError`]; [`BuildError::NotReproducible`] where they differ.
pub fn check_reproducible(
    recipe: &Recipe,
    target: &Target<'_>,
    format: Format,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Built, BuildError> {
    let built = build(recipe, target, format, store, progress)?;
    let plan = Plan::new(recipe, target, format, store, progress)?;
    let scratch =
        tempfile::tempdir_in(store.root()).map_err(BuildError::io("create a directory in", store.root()))?;
    let again = plan.make(Utf8Path::from_path(scratch.path()).unwrap_or(store.root()))?;
    if again.extension.sha512 == built.extension.sha512 {
        return Ok(built);
    }
    let (name, first, second) = (plan.name(), built.extension.sha512, again.extension.sha512);
    Err(BuildError::NotReproducible { name, format, first, second })
}

/// Everything that is known before anything is built.
struct Plan<'a> {
    recipe: &'a Recipe,
    target: &'a Target<'a>,
    format: Format,
    store: &'a Store,
    progress: &'a dyn Fn(&str),
    groups: Groups,
    gentoo: Selection,
    packing: Packing,
    packer: String,
    epoch: u32,
    key: String,
}

impl<'a> Plan<'a> {
    fn new(
        recipe: &'a Recipe,
        target: &'a Target<'a>,
        format: Format,
        store: &'a Store,
        progress: &'a dyn Fn(&str),
    ) -> Result<Self, BuildError> {
        check_name(recipe.name()).map_err(|(message, hint)| BuildError::Name(message, hint))?;
        let pack_error = |source| BuildError::Pack { name: recipe.name().to_owned(), format, source };
        let packing = packing(recipe, format).map_err(pack_error)?;
        let packer = pack::packer(format, &packing).map_err(pack_error)?;
        let groups = debian::resolve_recipe(recipe, target.base, store, progress)?.groups;
        let gentoo = gentoo::select(recipe, target, store, progress)?;
        let epoch = epoch(recipe)?;
        let key = String::new();
        let mut plan =
            Self { recipe, target, format, store, progress, groups, gentoo, packing, packer, epoch, key };
        let mut parts = inputs::of_recipe(recipe)?;
        parts.extend([REVISION.to_string(), format.to_string(), plan.packer.clone(), epoch.to_string()]);
        parts.push(plan.packing.key(format));
        parts.push(target.links.key().to_owned());
        // Whether there are units is not known yet, and follows from the rest.
        parts.push(format!("{:?}", plan.release(false, None)?));
        parts.push(debian::list(&plan.groups));
        parts.push(gentoo::key(&plan.gentoo));
        parts.extend(target.root.is_some().then(|| target.root_key()));
        // Their libraries count, though none of them comes into the extension.
        for before in plan.before()? {
            parts.extend(inputs::of_recipe(&before)?);
        }
        plan.key = digest::of_parts(parts);
        Ok(plan)
    }

    fn name(&self) -> String {
        self.recipe.name().to_owned()
    }

    /// `homepage` is that of its only package, once that is known: it follows from the package.
    fn release(&self, reload: bool, homepage: Option<&str>) -> Result<OsRelease, BuildError> {
        let compatible = &self.recipe.compatible;
        let reload = compatible.reload_manager.unwrap_or(reload);
        let (target, about) = (self.target, self.about(homepage));
        extension_release(compatible, target.os_release, target.architecture, reload, &about)
            .map_err(|source| BuildError::Release { recipe: self.recipe.path.clone(), source })
    }

    /// The only package that the recipe asks for: its name and version.
    fn only_package(&self) -> Option<(&str, &str)> {
        let asked = self.recipe.debian.iter().map(|section| section.packages.len()).sum::<usize>()
            + self.recipe.gentoo.iter().map(|section| section.packages.len()).sum::<usize>();
        if asked != 1 {
            return None;
        }
        if let Some(package) = gentoo::only(self.recipe, &self.gentoo) {
            let name = package.name.split_once('/').map_or(package.name.as_str(), |(_, name)| name);
            return Some((name, &package.version));
        }
        let only = self.recipe.debian.iter().flat_map(|section| &section.packages).next()?.get_ref();
        let package = self.groups.iter().flatten().find(|package| package.name == *only)?;
        Some((&package.name, &package.version))
    }

    /// What the recipe says, and what its package says where it asks for one alone.
    fn about<'b>(&'b self, homepage: Option<&'b str>) -> About<'b> {
        let package = self.only_package();
        let version = self.recipe.version.as_ref().map(|version| version.get_ref().as_str());
        About {
            id: self.recipe.name(),
            name: package.map(|(name, _)| name),
            version: version.or(package.map(|(_, version)| version)),
            homepage: self.recipe.homepage.as_deref().or(homepage),
            bug_report: self.recipe.bug_report.as_deref(),
        }
    }

    /// What the recipe's script finds.
    fn environment(&self) -> Environment<'a> {
        Environment {
            name: self.recipe.name(),
            version: self.recipe.version.as_ref().map_or("", |version| version.get_ref()),
            architecture: self.target.architecture.systemd_name(),
            epoch: self.epoch,
        }
    }

    /// Reads what was written about a kept build.
    fn read(&self, path: &Utf8Path) -> Result<Built, BuildError> {
        let file = path.join("built.json");
        let text = fs::read_to_string(&file).map_err(BuildError::io("read", &file))?;
        let mut built: Built =
            serde_json::from_str(&text).map_err(|error| BuildError::io("read", &file)(error.into()))?;
        built.extension.path = path.join(self.file_name());
        built.cached = true;
        built.warnings.extend(self.predict(&built.extension.release));
        Ok(built)
    }

    fn file_name(&self) -> String {
        match self.format {
            Format::Directory => self.name(),
            _ => format!("{}.raw", self.recipe.name()),
        }
    }

    /// Builds into an empty directory.
    fn make(&self, directory: &Utf8Path) -> Result<Built, BuildError> {
        let mut staged = Staged::new_in(directory)?;
        let (recipe, store) = (self.recipe, self.store);
        if recipe.finish.etc.is_some() {
            staged.take_etc();
        }
        let mut dropped =
            debian::stage(&mut staged, recipe, &self.groups, self.target.base, store, self.progress)?;
        let gentoo = gentoo::stage(&mut staged, recipe, &self.gentoo, self.progress)?;
        dropped.extend(gentoo.dropped);
        for source in &recipe.archives {
            dropped.extend(archive::stage(&mut staged, recipe, source, store, self.progress)?);
        }
        let mut opaque = Vec::new();
        for source in &recipe.images {
            let taken = image::stage(&mut staged, recipe, source, store, self.progress)?;
            dropped.extend(taken.dropped);
            opaque.extend(taken.opaque);
        }
        opaque.extend(assemble::overlay(&mut staged, recipe)?);
        opaque.extend(assemble::finish(&mut staged, recipe, &self.environment())?);
        let homepage = gentoo::only(recipe, &self.gentoo).and_then(|only| gentoo.homepages.get(&only.name));
        let homepage = homepage.filter(|_| self.only_package().is_some()).map(String::as_str);
        let release = self.release(assemble::has_units(&staged), homepage)?;
        assemble::put_release(&mut staged, recipe, &release)?;
        let mut warnings = self.judge(&staged)?;
        warnings.extend(self.link(&staged)?);
        warnings.extend(self.gentoo.warnings.iter().cloned());
        warnings.extend(opaque.iter().map(|path| format!("/{path} was marked opaque, which was left out")));
        staged.settle(self.epoch)?;
        let listing = Listing::of(&staged, self.epoch).map_err(BuildError::io("list", staged.root()))?;
        let (set_id, uncompressed) = (listing.set_id(), staged.size());
        let extension = self.pack(&staged, directory, release)?;
        let packages: Vec<Package> = self.groups.iter().flatten().cloned().collect();
        let material = Material {
            listing,
            uncompressed,
            components: self.components(&packages),
            packages: packages.iter().filter_map(|package| package.stored(store)).collect(),
            database: gentoo.database,
            inputs: self.inputs(&packages)?,
        };
        let described = self.describe(&extension, &material, directory)?;
        let built = Built {
            extension,
            packages,
            gentoo: self.gentoo.packages().cloned().collect(),
            explanation: self.gentoo.explanation.clone(),
            dropped,
            set_id,
            described,
            warnings,
            cached: false,
        };
        // Where it lies is for the reader to say: the directory gets its name later.
        let mut kept = built.clone();
        kept.extension.path = Utf8PathBuf::from(self.file_name());
        let path = directory.join("built.json");
        let text = serde_json::to_string_pretty(&kept)
            .map_err(|error| BuildError::io("write", &path)(error.into()))?;
        fs::write(&path, text).map_err(BuildError::io("write", &path))?;
        Ok(built)
    }

    fn components(&self, packages: &[Package]) -> Vec<Component> {
        let suite = self.target.base.map_or("unknown", |base| base.archive.suite.as_str());
        let debian = packages.iter().map(|package| Component::of_debian(package, suite));
        let architecture = self.target.architecture.debian_name();
        let gentoo = self.gentoo.packages().map(|package| Component::of_gentoo(package, architecture));
        debian.chain(gentoo).collect()
    }

    /// Everything that went in: the recipe with its files, the packages, and the base, if any.
    fn inputs(&self, packages: &[Package]) -> Result<Vec<Input>, BuildError> {
        let mut inputs = inputs::list(self.recipe)?;
        for (package, component) in packages.iter().zip(self.components(packages)) {
            let (name, sha256) = (package.file_name(), package.sha256.clone());
            inputs.push(Input { name, uri: component.purl(), sha256 });
        }
        for package in self.gentoo.packages() {
            let component = Component::of_gentoo(package, self.target.architecture.debian_name());
            let name = package.path.file_name().unwrap_or_default().to_owned();
            inputs.push(Input { name, uri: component.purl(), sha256: package.sha256.clone() });
        }
        if let Some(base) = self.target.base.filter(|_| !packages.is_empty()) {
            let uri = format!("base:{}", base.archive.suite);
            inputs.push(Input { name: "base".to_owned(), uri, sha256: base.digest.clone() });
        }
        Ok(inputs)
    }

    fn describe(
        &self,
        extension: &Extension,
        material: &Material,
        directory: &Utf8Path,
    ) -> Result<Vec<String>, BuildError> {
        let (recipe, identity) = (self.recipe, self.identity());
        let subject = Subject {
            name: recipe.name(),
            version: recipe.version.as_ref().map(|version| version.get_ref().as_str()),
            architecture: extension.release.get("ARCHITECTURE").unwrap_or("_any"),
            recipe: recipe.path.file_name().unwrap_or_default(),
            format: self.format,
            file_name: &self.file_name(),
            packer: &self.packer,
            url: recipe.publish.as_ref().map(|publish| publish.url.get_ref().as_str()),
            identity: &identity,
        };
        let described = describe::write(&subject, extension, material, directory);
        described.map_err(|source| BuildError::Describe { name: self.name(), source })
    }

    fn identity(&self) -> Identity {
        Identity { epoch: self.epoch, seed: self.key.clone() }
    }

    /// Refuses what cannot be used, and says what else is noteworthy.
    fn judge(&self, staged: &Staged) -> Result<Vec<String>, BuildError> {
        let (fatal, noted): (Vec<_>, Vec<_>) =
            lint::check(staged, &self.target.links).into_iter().partition(|finding| finding.fatal);
        if !fatal.is_empty() {
            let lines: Vec<String> = fatal.iter().map(ToString::to_string).collect();
            return Err(BuildError::Unfit(lines.join("\n")));
        }
        Ok(noted.iter().map(ToString::to_string).collect())
    }

    /// Refuses what is linked with something that is not there, and says what may be missed.
    fn link(&self, staged: &Staged) -> Result<Vec<String>, BuildError> {
        let (recipe, target, store) = (self.recipe, self.target, self.store);
        let found = linkage::check(staged, recipe, target, store, &|| self.layers())?;
        if found.missing.is_empty() {
            return Ok(found.warnings);
        }
        Err(BuildError::Unlinked(linkage::tell(&found.missing, recipe, target, store, self.progress)))
    }

    /// The libraries of the extensions that this one builds beyond.
    fn layers(&self) -> Result<Vec<Libraries>, BuildError> {
        let libraries = |recipe: &Recipe| {
            let built = build(recipe, self.target, Format::Directory, self.store, self.progress)?.extension;
            linkage::of_directory(&built.path, &built.sha512, self.target.architecture, self.store)
        };
        self.before()?.iter().map(libraries).collect()
    }

    /// The recipes that this one builds beyond.
    fn before(&self) -> Result<Vec<Recipe>, RecipeError> {
        let mut chain = Vec::new();
        debian::collect(self.recipe, &mut chain, &mut BTreeSet::new())?;
        chain.pop();
        Ok(chain)
    }

    /// What keeps the image from merging the extension. It is not kept: two images can have so
    /// much in common that they get the same extension, and still differ in this.
    fn predict(&self, release: &OsRelease) -> Vec<String> {
        let mut warnings = Vec::new();
        // The newest systemd is the most tolerant one.
        let (host, architecture) = (self.target.os_release, self.target.architecture);
        if let Err(refusal) = compatible(host, architecture, u32::MAX, release) {
            warnings.push(format!("systemd-sysext will pass over it: {refusal}"));
        }
        let inside = self.recipe.compatible.release_name.as_deref();
        if let Some(inside) = inside.filter(|name| *name != self.recipe.name()) {
            warnings.push(format!(
                "its extension-release file is named for `{inside}`: no extension will be merged"
            ));
        }
        warnings
    }

    fn pack(
        &self,
        staged: &Staged,
        directory: &Utf8Path,
        release: OsRelease,
    ) -> Result<Extension, BuildError> {
        (self.progress)(&format!("packing {} as {}", self.recipe.name(), self.format));
        let size = staged.size();
        let path = directory.join(self.file_name());
        let architecture = match release.get("ARCHITECTURE") {
            Some("x86-64") => Architecture::Amd64,
            Some("arm64") => Architecture::Arm64,
            _ => self.target.architecture,
        };
        pack::pack(staged, self.format, &self.packing, architecture, &self.identity(), &path)
            .map_err(|source| BuildError::Pack { name: self.name(), format: self.format, source })?;
        let (size, sha512) = if self.format == Format::Directory {
            (size, inputs::digest_of_directory(&path)?)
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(BuildError::io("write", &path))?;
            let size = fs::metadata(&path).map_err(BuildError::io("read", &path))?.len();
            (size, digest::sha512_of_file(&path).map_err(BuildError::io("read", &path))?)
        };
        Ok(Extension { name: self.name(), format: self.format, path, size, sha512, release })
    }
}

/// What the recipe says of packing, with its key pair where a DDI is to be signed.
fn packing(recipe: &Recipe, format: Format) -> Result<Packing, PackError> {
    let mut packing = recipe.pack.clone();
    if let (Format::Ddi, None, Some(key), Some(certificate)) =
        (format, &packing.signer, &packing.private_key, &packing.certificate)
    {
        let (key, certificate) = (recipe.beside(key.get_ref()), recipe.beside(certificate.get_ref()));
        packing.signer = Some(KeyPair::load(&key, &certificate)?);
    }
    Ok(packing)
}

/// See <https://reproducible-builds.org/specs/source-date-epoch/>.
fn epoch(recipe: &Recipe) -> Result<u32, BuildError> {
    match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().map_err(|_| BuildError::Epoch(text)),
        Err(_) => Ok(recipe.epoch.unwrap_or(EPOCH)),
    }
}
