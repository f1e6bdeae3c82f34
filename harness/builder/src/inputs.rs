// SPDX-License-Identifier: Apache-2.0
//! Digests of what a build depends on and of what it makes.
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256, Sha512};

use super::build_error::BuildError;
use super::describe::Input;
use super::recipe::Recipe;
use loadgauge_host::digest;

/// The recipe, its name, and every file that it names, each with its mode.
pub(super) fn of_recipe(recipe: &Recipe) -> Result<Vec<String>, BuildError> {
    let mut parts = vec![recipe.text.clone(), recipe.name().to_owned()];
    for source in recipe.files.iter().filter_map(|file| file.source.as_ref()) {
        let path = recipe.beside(source.get_ref());
        parts.push(digest::sha256_of_file(&path).map_err(BuildError::io("read", &path))?);
    }
    if let Some(script) = &recipe.finish.script {
        let path = recipe.beside(script.get_ref());
        parts.push(digest::sha256_of_file(&path).map_err(BuildError::io("read", &path))?);
    }
    for image in recipe.images.iter().filter_map(|image| image.source.as_ref()) {
        let path = recipe.beside(image.get_ref());
        parts.push(digest_of(&path)?);
    }
    for tree in &recipe.trees {
        parts.extend(listing(&recipe.beside(tree.source.get_ref()))?);
    }
    Ok(parts)
}

/// The same for people to read: each file by its path beside the recipe.
pub(super) fn list(recipe: &Recipe) -> Result<Vec<Input>, BuildError> {
    let directory = recipe.path.parent().unwrap_or(Utf8Path::new(""));
    let input = |path: &Utf8Path| {
        let sha256 = digest::sha256_of_file(path).map_err(BuildError::io("read", path))?;
        let uri = path.strip_prefix(directory).unwrap_or(path).to_string();
        let name = path.file_name().unwrap_or_default().to_owned();
        Ok::<_, BuildError>(Input { name, uri, sha256 })
    };
    let sha256 = hex::encode(Sha256::digest(recipe.text.as_bytes()));
    let name = recipe.path.file_name().unwrap_or_default().to_owned();
    let mut inputs = vec![Input { uri: name.clone(), name, sha256 }];
    let files = recipe.files.iter().filter_map(|file| file.source.as_ref());
    for source in files.chain(&recipe.finish.script) {
        inputs.push(input(&recipe.beside(source.get_ref()))?);
    }
    for archive in &recipe.archives {
        let local = archive.source.as_ref().map(|source| source.get_ref().to_string());
        let uri = local.or_else(|| archive.url.as_ref().map(|url| url.get_ref().clone())).unwrap_or_default();
        let name = uri.rsplit('/').next().unwrap_or_default().to_owned();
        inputs.push(Input { name, uri, sha256: archive.sha256.get_ref().clone() });
    }
    for image in &recipe.images {
        let local = image.source.as_ref().map(|source| source.get_ref().clone());
        let uri = image.url.as_ref().map(|url| url.get_ref().clone());
        let sha256 = match &local {
            Some(path) => digest_of(&recipe.beside(path))?,
            None => image.sha256.as_ref().map(|sha256| sha256.get_ref().clone()).unwrap_or_default(),
        };
        let uri = uri.or_else(|| local.map(Utf8PathBuf::into_string)).unwrap_or_default();
        inputs.push(Input { name: uri.rsplit('/').next().unwrap_or_default().to_owned(), uri, sha256 });
    }
    for tree in &recipe.trees {
        let root = recipe.beside(tree.source.get_ref());
        for entry in walkdir::WalkDir::new(&root).sort_by_file_name() {
            let entry = entry.map_err(|error| BuildError::io("read", &root)(error.into()))?;
            if let (true, Some(path)) = (entry.file_type().is_file(), Utf8Path::from_path(entry.path())) {
                inputs.push(input(path)?);
            }
        }
    }
    Ok(inputs)
}

/// SHA-256 in hex of a file, or of the sorted listing of a directory.
fn digest_of(path: &Utf8Path) -> Result<String, BuildError> {
    if path.is_dir() {
        return Ok(hex::encode(Sha256::digest(listing(path)?.join("\n").as_bytes())));
    }
    digest::sha256_of_file(path).map_err(BuildError::io("read", path))
}

/// SHA-512 in hex of the sorted listing of a directory, with the digests of its files.
pub(super) fn digest_of_directory(directory: &Utf8Path) -> Result<String, BuildError> {
    let lines = listing(directory)?.join("\n");
    Ok(hex::encode(Sha512::digest(lines.as_bytes())))
}

/// A line for everything in a directory: kind and mode, path, digest or target.
fn listing(directory: &Utf8Path) -> Result<Vec<String>, BuildError> {
    let mut lines = Vec::new();
    for entry in walkdir::WalkDir::new(directory).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| BuildError::io("read", directory)(error.into()))?;
        let io = |error| BuildError::io("read", directory)(error);
        let relative = entry.path().strip_prefix(directory).unwrap_or(Path::new("")).display();
        let metadata = entry.metadata().map_err(|error| BuildError::io("read", directory)(error.into()))?;
        let mode = metadata.permissions().mode();
        let what = if metadata.is_file() {
            let path = Utf8Path::from_path(entry.path()).unwrap_or(directory);
            digest::sha256_of_file(path).map_err(io)?
        } else if metadata.is_symlink() {
            fs::read_link(entry.path()).map_err(io)?.display().to_string()
        } else {
            String::new()
        };
        lines.push(format!("{mode:o} {relative} {what}"));
    }
    Ok(lines)
}
