// SPDX-License-Identifier: Apache-2.0
//! Local trees of a config.

use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};
use serde_saphyr::{Location, Spanned};
use walkdir::WalkDir;

use super::{
    error::{ButaneCause, ButaneError},
    local::Files,
    schema::{File, Link, Resource, Storage, Tree},
};
use crate::data_url;

/// Adds the files and links of all trees. As with Butane, directories are not entries of their own, owners
/// are not kept, and the mode is 0755 for executable files and 0644 for others; an entry of the config for
/// the same path can set all but the contents.
pub(super) fn add_trees(storage: &mut Storage, files: &Files<'_>) -> Result<(), ButaneError> {
    for tree in storage.trees.take().into_iter().flatten() {
        add_tree(&tree, storage, files)?;
    }
    Ok(())
}

fn add_tree(tree: &Tree, storage: &mut Storage, files: &Files<'_>) -> Result<(), ButaneError> {
    let root = files.locate(&tree.local)?;
    let target = Utf8Path::new(tree.path.as_deref().unwrap_or("/"));
    for entry in WalkDir::new(&root).sort_by_file_name().min_depth(1) {
        let entry = entry.map_err(|error| {
            let error: FileError = FileError::at("list", &root)(error.into());
            ButaneError::at(&tree.local.referenced, error)
        })?;
        let unusual = |path: &std::path::Path| {
            let path = Utf8PathBuf::from(path.to_string_lossy().into_owned());
            ButaneError::at(&tree.local.referenced, ButaneCause::TreeEntry(path))
        };
        let path = Utf8Path::from_path(entry.path()).ok_or_else(|| unusual(entry.path()))?;
        let below = path.strip_prefix(&root).unwrap_or(path);
        let target = target.join(below).into_string();
        let kind = entry.file_type();
        if kind.is_file() {
            add_file(&tree.local, path, target, storage)?;
        } else if kind.is_symlink() {
            add_link(&tree.local, path, target, storage)?;
        } else if !kind.is_dir() {
            return Err(unusual(entry.path()));
        }
    }
    Ok(())
}

fn add_file(
    from: &Spanned<String>,
    path: &Utf8Path,
    target: String,
    storage: &mut Storage,
) -> Result<(), ButaneError> {
    let located = |error| ButaneError::at(&from.referenced, error);
    let bytes = fs::read(path).map_err(located)?;
    let executable = fs::metadata(path).map_err(located)?.permissions().mode() & 0o111 != 0;
    let is_link = storage.links.iter().flatten().any(|link| link.path == target);
    let files = storage.files.get_or_insert_default();
    let index = files.iter().position(|file| file.path == target);
    if is_link || index.is_some_and(|index| files[index].contents.is_some()) {
        return Err(ButaneError::at(&from.referenced, ButaneCause::TreeTwice(target)));
    }
    let index = index.unwrap_or_else(|| {
        files.push(File {
            path: target,
            append: None,
            contents: None,
            group: None,
            mode: None,
            overwrite: None,
            user: None,
        });
        files.len() - 1
    });
    let mode = if executable { 0o755 } else { 0o644 };
    files[index].mode.get_or_insert(Spanned::new(mode, Location::UNKNOWN, Location::UNKNOWN));
    files[index].contents = Some(Resource {
        source: Some(data_url::encode(&bytes)),
        compression: None,
        http_headers: None,
        inline: None,
        local: None,
        verification: None,
    });
    Ok(())
}

fn add_link(
    from: &Spanned<String>,
    path: &Utf8Path,
    target: String,
    storage: &mut Storage,
) -> Result<(), ButaneError> {
    let link_target = path
        .read_link_utf8()
        .map_err(FileError::at("read the link", path))
        .map_err(|error: FileError| ButaneError::at(&from.referenced, error))?;
    let is_file = storage.files.iter().flatten().any(|file| file.path == target);
    let links = storage.links.get_or_insert_default();
    let index = links.iter().position(|link| link.path == target);
    if is_file || index.is_some_and(|index| links[index].target.is_some()) {
        return Err(ButaneError::at(&from.referenced, ButaneCause::TreeTwice(target)));
    }
    let index = index.unwrap_or_else(|| {
        links.push(Link { path: target, group: None, hard: None, overwrite: None, target: None, user: None });
        links.len() - 1
    });
    links[index].target = Some(link_target.into_string());
    Ok(())
}
