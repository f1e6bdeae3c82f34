// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::{digest, environment};
use loadgauge_images::OsRelease;
use loadgauge_images::file_system::FileSystem;

use super::result::Built;
use crate::build_error::BuildError;
use crate::extension::Format;
use crate::lint::{self, Packed};
use crate::mangle::{Environment, Script};
use crate::pack::{self, DdiFilesystem, ErofsCompression, Identity, PackError, Packing};
use crate::recipe::{Recipe, check_name};
use crate::release_file::{About, extension_release};
use crate::signing::KeyPair;
use crate::source::{self, AboutPackage, Context, RequestedPackage, Source};

/// The time of all files where neither `SOURCE_DATE_EPOCH` nor the recipe sets one: 2024-01-01.
const EPOCH: u32 = 1_704_067_200;

/// Increased whenever the same inputs give other bytes or another key, so that earlier builds are not
/// used.
const REVISION: u32 = 7;

/// Everything that is known before an extension is built.
pub(super) struct Plan<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) format: Format,
    /// the resolved sources
    pub(super) sources: Vec<Box<dyn Source>>,
    pub(super) packing: Packing,
    /// the program that packs the format, with its version
    pub(super) packer: String,
    /// the time of all files, in seconds since 1970
    pub(super) epoch: u32,
    /// the key of the build in the store
    pub(super) key: String,
    /// the package of a recipe that asks for one package alone
    only_package: Option<(String, String)>,
}

impl<'a> Plan<'a> {
    /// Resolves the sources of a recipe and computes the key of the build.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub(super) fn new(context: &'a Context<'a>, format: Format) -> Result<Self, BuildError> {
        let recipe = context.recipe;
        check_name(recipe.name()).map_err(|(cause, hint)| BuildError::Name(cause, hint))?;
        let pack_error = |source| BuildError::Pack { name: recipe.name().to_owned(), format, source };
        let packing = packing(recipe, format).map_err(pack_error)?;
        let packer = pack::packer(format, &packing).map_err(pack_error)?;
        let mut sources = source::of_recipe(recipe);
        for source in &mut sources {
            source.resolve(context)?;
        }
        let epoch = epoch(recipe)?;
        let (key, only_package) = (String::new(), only_package(&sources, context));
        let mut plan = Self { context, format, sources, packing, packer, epoch, key, only_package };
        plan.key = plan.compute_key()?;
        Ok(plan)
    }

    fn compute_key(&self) -> Result<String, BuildError> {
        let Self { context, format, .. } = self;
        let target = context.target;
        let mut inputs = digest::Inputs::default();
        inputs.add("revision", REVISION.to_string());
        inputs.add("recipe", recipe_key(context.recipe, &self.sources, context)?);
        inputs.add("format", format.to_string());
        inputs.add("packing", self.packing.key(*format));
        inputs.add("packer", &self.packer);
        inputs.add("epoch", self.epoch.to_string());
        inputs.add("base links", target.links.key());
        // Rules about units depend on them.
        let major = target.os_release.get("VERSION_ID").and_then(|version| version.split('.').next());
        inputs.add("base systemd", format!("{:?} {major:?}", target.systemd));
        // Whether the extension has units follows from the other inputs.
        inputs.add("release", format!("{:?}", self.release(false, None)?));
        if target.root.is_some() {
            inputs.add("base libraries", target.root_key());
        }
        // The libraries of base extensions decide whether the build succeeds.
        for recipe in context.base_extensions {
            let context = Context { recipe, ..**context };
            inputs.add("base extension", recipe_key(recipe, &source::of_recipe(recipe), &context)?);
        }
        Ok(inputs.finish())
    }

    /// The extension's name.
    pub(super) fn name(&self) -> String {
        self.context.recipe.name().to_owned()
    }

    /// The name of the image file or directory.
    pub(super) fn file_name(&self) -> String {
        match self.format {
            Format::Directory => self.name(),
            _ => format!("{}.raw", self.context.recipe.name()),
        }
    }

    /// The full name of the package of a recipe that asks for one package alone.
    pub(super) fn only_package(&self) -> Option<&str> {
        self.only_package.as_ref().map(|(name, _)| name.as_str())
    }

    /// The fields of the extension-release file. `only` is what the only package says about itself, once it
    /// is known.
    pub(super) fn release(&self, reload: bool, only: Option<&AboutPackage>) -> Result<OsRelease, BuildError> {
        let (recipe, target) = (self.context.recipe, self.context.target);
        let reload = recipe.compatible.reload_manager.unwrap_or(reload);
        let package = self.only_package.as_ref();
        let version = recipe.version.as_ref().map(|version| version.get_ref().as_str());
        let about = About {
            id: recipe.name(),
            name: recipe.display_name.as_deref().or(only.and_then(|only| only.display_name.as_deref())),
            version: version.or(package.map(|(_, version)| version.as_str())),
            homepage: recipe.homepage.as_deref().or(only.and_then(|only| only.homepage.as_deref())),
            bug_report: recipe.bug_report.as_deref(),
        };
        extension_release(&recipe.compatible, target.os_release, target.architecture, reload, &about)
            .map_err(|source| BuildError::Release { recipe: recipe.path.clone(), source })
    }

    /// The environment of the recipe's script.
    pub(super) fn environment(&self) -> Environment<'a> {
        let Context { recipe, target, .. } = *self.context;
        Environment {
            name: recipe.name(),
            version: recipe.version.as_ref().map_or("", |version| version.get_ref()),
            architecture: target.architecture.systemd_name(),
            epoch: self.epoch,
        }
    }

    /// The time and the seed of all identifiers in the image.
    pub(super) fn identity(&self) -> Identity {
        Identity { epoch: self.epoch, seed: self.key.clone() }
    }

    /// The form of the image file, for the rules about it.
    fn packed(&self) -> Option<Packed> {
        let erofs = self.packing.erofs_compression.map(ErofsCompression::name);
        let file_system = match (self.format, self.packing.ddi_filesystem()) {
            (Format::Directory, _) => return None,
            (Format::Squashfs, _) | (Format::Ddi, DdiFilesystem::Squashfs) => FileSystem::Squashfs,
            (Format::Erofs, _) | (Format::Ddi, DdiFilesystem::Erofs) => FileSystem::Erofs,
            (Format::Ext4, _) => FileSystem::Ext,
            (Format::Btrfs, _) => FileSystem::Btrfs,
        };
        let compression = erofs.filter(|_| file_system == FileSystem::Erofs);
        Some(Packed { file_system, compression })
    }

    /// Adds warnings about what the target will not merge. They are not kept: two images that differ in
    /// this can share a build.
    pub(super) fn with_predictions(&self, mut built: Built) -> Built {
        let Context { recipe, target, .. } = *self.context;
        let (name, release) = (recipe.name(), &built.extension.release);
        let release_name = recipe.compatible.release_name.as_deref().unwrap_or(name);
        let findings = lint::judge_merge(name, release_name, release, self.packed(), target);
        built.warnings.extend(findings.iter().map(ToString::to_string));
        built
    }
}

/// Everything about one recipe that decides the files of its extension.
fn recipe_key(
    recipe: &Recipe,
    sources: &[Box<dyn Source>],
    context: &Context<'_>,
) -> Result<String, BuildError> {
    let mut parts = vec![recipe.text.clone(), recipe.name().to_owned()];
    if let Some(script) = Script::of(recipe) {
        parts.push(script.key()?);
    }
    for source in sources {
        parts.push(digest::of_parts(source.key(context)?));
    }
    Ok(digest::of_parts(parts))
}

/// The name and version of a recipe's package where it asks for no other and the base lacks it.
fn only_package(sources: &[Box<dyn Source>], context: &Context<'_>) -> Option<(String, String)> {
    let mut requested = sources.iter().flat_map(|source| source.requested(context));
    let RequestedPackage { name, version } = requested.next()?;
    if requested.next().is_some() {
        return None;
    }
    Some((name, version?))
}

/// The recipe's packing, with its key pair where a DDI is signed.
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
    match environment::value(environment::SOURCE_DATE_EPOCH) {
        Some(text) => text.parse().map_err(|_| BuildError::Epoch(text)),
        None => Ok(recipe.source_date_epoch.unwrap_or(EPOCH)),
    }
}
