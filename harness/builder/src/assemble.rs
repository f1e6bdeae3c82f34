// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_images::OsRelease;

use super::build_error::BuildError;
use super::etc;
use super::globs;
use super::mangle::{self, Environment};
use super::recipe::{Etc, Recipe};
use super::release_file;
use super::stage::{NodeKind, StageError, Staged};
use super::tree::copy_tree;

const UNITS: &str = "usr/lib/systemd/system";
const RELEASES: &str = "usr/lib/extension-release.d";

/// Puts the recipe's own trees and files over what its packages brought.
///
/// It says which directories had opaque markers, which are left out.
pub(super) fn overlay(staged: &mut Staged, recipe: &Recipe) -> Result<Vec<Utf8PathBuf>, BuildError> {
    let mut opaque = Vec::new();
    for tree in &recipe.trees {
        opaque.extend(copy_tree(staged, &recipe.beside(tree.source.get_ref()))?);
    }
    let origin: Arc<str> = Arc::from("the recipe");
    for file in &recipe.files {
        let path = inside(&recipe.fill(file.path.get_ref()));
        if let Some(target) = &file.link {
            staged.put_link(&path, &recipe.fill(target), &origin)?;
        } else if let Some(source) = &file.source {
            let source = recipe.beside(source.get_ref());
            let mut contents = File::open(&source).map_err(BuildError::io("read", &source))?;
            staged.put_file(&path, file.mode(), &mut contents, &origin)?;
        } else {
            let contents = recipe.fill(file.contents.as_deref().unwrap_or_default());
            staged.put_file(&path, file.mode(), &mut contents.as_bytes(), &origin)?;
        }
    }
    Ok(opaque)
}

/// Masks, mangles, removes, moves and adds what the recipe's `[finish]` says.
///
/// It says where the script has put opaque markers, which are removed.
pub(super) fn finish(
    staged: &mut Staged,
    recipe: &Recipe,
    environment: &Environment<'_>,
) -> Result<Vec<Utf8PathBuf>, BuildError> {
    let origin: Arc<str> = Arc::from("the recipe");
    mask(staged, recipe)?;
    let opaque = match &recipe.finish.script {
        Some(script) => mangle::run(staged, &recipe.beside(script.get_ref()), environment)?,
        None => Vec::new(),
    };
    if let Some(Etc::Tmpfiles) = recipe.finish.etc {
        etc::to_tmpfiles(staged, recipe.name())?;
    }
    for pattern in &recipe.finish.remove {
        let glob = globs::compile(recipe, std::slice::from_ref(pattern))?;
        let covered: Vec<Utf8PathBuf> = staged
            .nodes()
            .map(|(path, _)| path)
            .filter(|path| globs::matches(&glob, path))
            .map(Utf8Path::to_owned)
            .collect();
        if covered.is_empty() {
            // What a recipe meant to take out and did not is a surprise in the extension.
            let message = format!("`{}` covers nothing that is in the extension", pattern.get_ref());
            return Err(recipe.error(pattern, message, "remove the pattern, or mend it").into());
        }
        for path in covered {
            staged.remove(&path)?;
        }
    }
    for (from, to) in &recipe.finish.moves {
        staged.move_contents(&inside(from), &inside(to.get_ref()), &origin)?;
    }
    for (target, units) in &recipe.finish.upholds {
        uphold(staged, target, units, &origin)?;
    }
    Ok(opaque)
}

/// Leaves out what the recipe's mask covers, and directories that are empty without it.
fn mask(staged: &mut Staged, recipe: &Recipe) -> Result<(), BuildError> {
    let globs = globs::compile(recipe, &recipe.finish.mask)?;
    let covered: Vec<Utf8PathBuf> = staged
        .nodes()
        .map(|(path, _)| path)
        .filter(|path| globs::matches(&globs, path))
        .map(Utf8Path::to_owned)
        .collect();
    for path in covered {
        staged.remove(&path)?;
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_str().is_empty()) {
            if staged.nodes().any(|(path, _)| path.parent() == Some(parent)) {
                break;
            }
            staged.remove(parent)?;
        }
    }
    Ok(())
}

/// Drop-ins as Flatcar's own extensions have them: a unit a file, `10-docker-socket.conf`.
fn uphold(staged: &mut Staged, target: &str, units: &[String], origin: &Arc<str>) -> Result<(), StageError> {
    for unit in units {
        let path = format!("{UNITS}/{target}.d/10-{}.conf", unit.replace('.', "-"));
        let text = format!("[Unit]\nUpholds={unit}\n");
        staged.put_file(Utf8Path::new(&path), 0o644, &mut text.as_bytes(), origin)?;
    }
    Ok(())
}

/// Whether the tree holds units, which systemd finds only when it is told to look again.
pub(super) fn has_units(staged: &Staged) -> bool {
    staged.nodes().any(|(path, node)| path.starts_with(UNITS) && node.kind != NodeKind::Directory)
}

/// Writes the extension-release file, the only one there may be.
pub(super) fn put_release(
    staged: &mut Staged,
    recipe: &Recipe,
    release: &OsRelease,
) -> Result<(), BuildError> {
    let inside_name = recipe.compatible.release_name.as_deref().unwrap_or(recipe.name());
    let path = Utf8Path::new(RELEASES).join(format!("extension-release.{inside_name}"));
    if let Some((there, node)) =
        staged.nodes().find(|(there, _)| there.parent() == Some(Utf8Path::new(RELEASES)))
    {
        return Err(BuildError::SecondRelease { path: there.to_owned(), origin: Arc::clone(&node.origin) });
    }
    let origin: Arc<str> = Arc::from("the builder");
    staged.put_file(&path, 0o644, &mut release_file::write(release).as_bytes(), &origin)?;
    Ok(())
}

fn inside(path: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(path.trim_start_matches('/'))
}
