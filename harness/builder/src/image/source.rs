// SPDX-License-Identifier: Apache-2.0
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Store, digest, fs};
use loadgauge_images::ExtensionImage;
use loadgauge_images::file_system::ExtendedAttribute;

use super::error::ImageError;
use super::staging::{StagedImage, Staging};
use crate::fetch::{fetch, is_sha256};
use crate::globs;
use crate::recipe::{ImageSource, Recipe};
use crate::recipe_error::RecipeError;
use crate::stage::Staged;

/// The largest image, in bytes.
const MAXIMUM_SIZE: u64 = 8 << 30;

/// Stages an existing extension, with the modes of its files and without its extension-release.
///
/// # Errors
/// See [`ImageError`].
pub(crate) fn stage(
    staged: &mut Staged,
    recipe: &Recipe,
    source: &ImageSource,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<StagedImage, ImageError> {
    let (path, name) = locate(recipe, source, store, progress)?;
    progress(&format!("extracting {name}"));
    let exclude = globs::compile(recipe, &source.exclude)?;
    let scratch = staged.scratch("image")?;
    // Nobody else runs its set-id programs meanwhile.
    fs::set_permissions(&scratch, Permissions::from_mode(0o700))?;
    let extracted = if path.is_dir() {
        Extracted { root: path, below: "", attributes: Vec::new() }
    } else {
        extract(&path, &name, &scratch)?
    };
    let mut staging = Staging::new(staged, &name, &extracted.root, extracted.below);
    staging.set_attributes(extracted.attributes);
    let found = staging.run(&exclude)?;
    let is_empty = staged.nodes().next().is_none();
    fs::remove_dir_all(&scratch)?;
    if is_empty {
        let message = format!("`{name}` adds nothing to the extension");
        return Err(recipe.error(source.at(recipe), message, "an extension contains /usr and /opt").into());
    }
    Ok(found)
}

/// An extracted image.
struct Extracted {
    root: Utf8PathBuf,
    /// the directory that the files belong into
    below: &'static str,
    /// the attributes of files that extraction did not preserve
    attributes: Vec<ExtendedAttribute>,
}

fn extract(image: &Utf8Path, name: &str, scratch: &Utf8Path) -> Result<Extracted, ImageError> {
    let opened = ExtensionImage::open(image, &scratch.join("partition"))
        .map_err(|source| ImageError::Open { image: name.to_owned(), source })?;
    let (tree, attributes) = opened
        .extract(&scratch.join("root"))
        .map_err(|source| ImageError::Extract { image: name.to_owned(), source })?;
    Ok(Extracted { root: tree.root().to_owned(), below: opened.below, attributes })
}

/// The path and the name of the image, which is fetched where it has a URL.
fn locate(
    recipe: &Recipe,
    source: &ImageSource,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<(Utf8PathBuf, String), ImageError> {
    if let (Some(url), Some(sha256)) = (&source.url, &source.sha256) {
        let url = url.get_ref();
        progress(&format!("fetching {url}"));
        let path = fetch(url, sha256.get_ref(), MAXIMUM_SIZE, store)?;
        let end = url.split(['?', '#']).next().unwrap_or(url);
        return Ok((path, end.rsplit('/').next().unwrap_or(end).to_owned()));
    }
    let file = source.source.as_ref().map(|file| file.get_ref().clone()).unwrap_or_default();
    let path = recipe.beside(&file);
    if let Some(sha256) = source.sha256.as_ref().filter(|_| path.is_file()) {
        let found = digest::sha256_of_file(&path).map_err(FileError::at::<FileError>("read", &path))?;
        if found != *sha256.get_ref() {
            let message = format!("`{file}` has another SHA-256: {found}");
            let hint = "check that it is the intended file before you change the digest";
            return Err(recipe.error(sha256, message, hint).into());
        }
    }
    let name = path.file_name().unwrap_or_default().to_owned();
    Ok((path, name))
}

/// Checks a section `[[image]]`.
///
/// # Errors
/// The first fault of the section.
pub(crate) fn check(recipe: &Recipe, source: &ImageSource) -> Result<(), RecipeError> {
    if let Some(sha256) = source.sha256.as_ref().filter(|sha256| !is_sha256(sha256.get_ref())) {
        let message = format!("`{}` is not a SHA-256", sha256.get_ref());
        return Err(recipe.error(
            sha256,
            message,
            "write 64 digits of 0-9 and a-f, as sha256sum prints them",
        ));
    }
    match (&source.source, &source.url) {
        (Some(_), None) => Ok(()),
        (None, Some(url)) => {
            let known =
                ["http://", "https://", "file:"].iter().any(|scheme| url.get_ref().starts_with(scheme));
            if !known {
                let message = format!("`{}` is not a supported URL", url.get_ref());
                return Err(recipe.error(url, message, "use http, https or file"));
            }
            if source.sha256.is_none() {
                let hint = "add sha256 = \"..\", 64 digits, as sha256sum prints them";
                return Err(recipe.error(url, "an [[image]] from a URL needs its digest", hint));
            }
            Ok(())
        }
        _ => {
            let hint = "write source = \"a file or directory next to the recipe\", or url = \"https://…\"";
            Err(recipe.error(source.at(recipe), "an [[image]] needs exactly one of source and url", hint))
        }
    }
}
