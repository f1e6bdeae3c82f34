// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use camino::Utf8Path;
use loadgauge_host::{FileError, digest, fs};
use loadgauge_images::{Architecture, OsRelease};

use super::plan::Plan;
use super::result::Built;
use crate::build_error::BuildError;
use crate::describe::{self, Component, Details, Input, Listing, Subject};
use crate::elf::Libraries;
use crate::explain::{Explanation, Need};
use crate::extension::{Extension, Format};
use crate::mangle::Script;
use crate::recipe::Recipe;
use crate::source::Contents;
use crate::stage::{NodeKind, Staged};
use crate::{finish, linkage, lint, pack, tree_digest};

/// Builds a base extension as a directory.
type BuildDirectory<'a> = &'a dyn Fn(&Recipe) -> Result<Built, BuildError>;

/// Builds an extension into an empty directory.
///
/// # Errors
/// See [`BuildError`].
pub(super) fn assemble(
    plan: &Plan<'_>,
    build_directory: BuildDirectory<'_>,
    directory: &Utf8Path,
) -> Result<Built, BuildError> {
    let recipe = plan.context.recipe;
    let mut staged = Staged::new_in(directory)?;
    // The SDK's scripts find the files of packages in /etc, which are dropped afterwards.
    if recipe.finish.etc.is_some() || recipe.finish.script.is_some() {
        staged.take_etc();
    }
    let mut contents = Contents::default();
    for source in &plan.sources {
        contents.extend(source.stage(&mut staged, plan.context)?);
    }
    let finished = finish::finish(&mut staged, recipe, &plan.environment())?;
    contents.opaque.extend(finished.opaque);
    contents.dropped.extend(finished.dropped);
    refuse_empty(plan, &staged)?;
    let about = plan.only_package().and_then(|name| contents.about.get(name));
    let release = plan.release(finish::has_units(&staged), about)?;
    finish::put_release(&mut staged, recipe, &release)?;
    let mut warnings = check_rules(plan, &staged)?;
    warnings.extend(check_linkage(plan, build_directory, &staged)?);
    warnings.extend(plan.sources.iter().flat_map(|source| source.warnings()));
    let opaque = contents.opaque.iter();
    warnings.extend(opaque.map(|path| format!("/{path}: the opaque marker of the directory was left out")));
    staged.settle(plan.epoch)?;
    let listing = Listing::of(&staged, plan.epoch)?;
    let (set_id, uncompressed) = (listing.set_id(), staged.size());
    let extension = pack_tree(plan, &staged, directory, release)?;
    let packages: Vec<Component> =
        plan.sources.iter().flat_map(|source| source.components(plan.context)).collect();
    let (database, inputs) = (contents.database, inputs(plan)?);
    let details = Details { listing, uncompressed, components: packages.clone(), database, inputs };
    let described = describe(plan, &extension, &details, directory)?;
    let mut explanation = Explanation::default();
    for source in &plan.sources {
        explanation.extend(source.explanation());
    }
    let dropped = contents.dropped;
    let built =
        Built { extension, packages, explanation, dropped, set_id, described, warnings, cached: false };
    built.write(directory)?;
    Ok(built)
}

/// Refuses a tree with nothing in it but /usr and /opt themselves, and says what the base has already.
fn refuse_empty(plan: &Plan<'_>, staged: &Staged) -> Result<(), BuildError> {
    let is_top = |path: &Utf8Path| path.components().count() == 1;
    if staged.nodes().any(|(path, node)| node.kind != NodeKind::Directory || !is_top(path)) {
        return Ok(());
    }
    let recipe = plan.context.recipe;
    let mut cause = "the extension would be empty".to_owned();
    for explained in plan.sources.iter().flat_map(|source| source.explanation().present) {
        let requested = explained.needs.iter().find(|need| need.by.is_none());
        if let Some(Need { how, .. }) = requested {
            let package = explained.package;
            let note =
                if package.starts_with(&format!("{how} ")) { String::new() } else { format!(" for `{how}`") };
            let _ = write!(cause, "; the base has {package}{note} already");
        }
    }
    let hint = "remove what the base has, and add a package, file or tree";
    Err(recipe.error(&recipe.name, cause, hint).into())
}

/// The files that the extension is built from: the recipe with its script, and those of its sources.
fn inputs(plan: &Plan<'_>) -> Result<Vec<Input>, BuildError> {
    let recipe = plan.context.recipe;
    let name = recipe.path.file_name().unwrap_or_default().to_owned();
    let mut inputs = vec![Input::of_uri(name, digest::sha256(&recipe.text))];
    if let Some(script) = Script::of(recipe) {
        inputs.extend(script.inputs(recipe.directory())?);
    }
    for source in &plan.sources {
        inputs.extend(source.inputs(plan.context)?);
    }
    Ok(inputs)
}

/// Applies the lint rules: findings that break the guest are an error, others are returned as warnings.
fn check_rules(plan: &Plan<'_>, staged: &Staged) -> Result<Vec<String>, BuildError> {
    let content = lint::Content::of_staged(staged, &plan.name())?;
    let findings = lint::judge_content(&content, plan.context.target);
    let (errors, others): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.severity == lint::Severity::Error);
    if !errors.is_empty() {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(BuildError::Unfit(lines.join("\n")));
    }
    Ok(others.iter().map(ToString::to_string).collect())
}

/// Checks that all libraries are present: missing ones are an error, doubts are returned as warnings.
fn check_linkage(
    plan: &Plan<'_>,
    build_directory: BuildDirectory<'_>,
    staged: &Staged,
) -> Result<Vec<String>, BuildError> {
    let context = plan.context;
    let libraries = |recipe: &Recipe| -> Result<Libraries, BuildError> {
        let built = build_directory(recipe)?.extension;
        linkage::of_directory(&built.path, &built.sha512, context.target.architecture, context.store)
    };
    let base_extensions = || context.base_extensions.iter().map(libraries).collect();
    let report = linkage::check(staged, context, &base_extensions)?;
    if report.missing.is_empty() {
        return Ok(report.warnings);
    }
    let lines = report.missing.iter().map(|missing| {
        let providers = plan.sources.iter().flat_map(|source| source.providers(&missing.library, context));
        linkage::line(missing, &providers.collect::<Vec<_>>())
    });
    Err(BuildError::Unlinked(lines.collect::<Vec<_>>().join("\n")))
}

fn pack_tree(
    plan: &Plan<'_>,
    staged: &Staged,
    directory: &Utf8Path,
    release: OsRelease,
) -> Result<Extension, BuildError> {
    let (name, format) = (plan.name(), plan.format);
    (plan.context.progress)(&format!("packing {name} as {format}"));
    let size = staged.size();
    let path = directory.join(plan.file_name());
    let architecture = match release.get("ARCHITECTURE") {
        Some("x86-64") => Architecture::Amd64,
        Some("arm64") => Architecture::Arm64,
        _ => plan.context.target.architecture,
    };
    pack::pack(staged, format, &plan.packing, architecture, &plan.identity(), &path)
        .map_err(|source| BuildError::Pack { name: name.clone(), format, source })?;
    let (size, sha512) = if format == Format::Directory {
        (size, tree_digest::sha512_of_directory(&path)?)
    } else {
        fs::open(&path)?.sync_all().map_err(FileError::at("write", &path))?;
        let sha512 = digest::sha512_of_file(&path).map_err(FileError::at("read", &path))?;
        (fs::metadata(&path)?.len(), sha512)
    };
    Ok(Extension { name, format, path, size, sha512, release })
}

fn describe(
    plan: &Plan<'_>,
    extension: &Extension,
    details: &Details,
    directory: &Utf8Path,
) -> Result<Vec<String>, BuildError> {
    let (recipe, identity) = (plan.context.recipe, plan.identity());
    let subject = Subject {
        name: recipe.name(),
        version: recipe.version.as_ref().map(|version| version.get_ref().as_str()),
        architecture: extension.release.get("ARCHITECTURE").unwrap_or("_any"),
        recipe: recipe.path.file_name().unwrap_or_default(),
        format: plan.format,
        file_system: match plan.format {
            Format::Ddi => plan.packing.ddi_filesystem().into(),
            format => format,
        },
        file_name: &plan.file_name(),
        packer: &plan.packer,
        url: recipe.publish.as_ref().map(|publish| publish.url.get_ref().as_str()),
        identity: &identity,
    };
    describe::write(&subject, extension, details, directory)
        .map_err(|source| BuildError::Describe { name: plan.name(), source })
}
