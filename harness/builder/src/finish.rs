// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use globset::GlobSet;
use loadgauge_images::OsRelease;

use super::build_error::BuildError;
use super::etc_tmpfiles;
use super::globs;
use super::mangle::{self, Environment, Script};
use super::member::below_root;
use super::recipe::{Etc, Recipe};
use super::release_file;
use super::stage::{NodeKind, StageError, Staged, is_kept};

const UNITS: &str = "usr/lib/systemd/system";
const RELEASES: &str = "usr/lib/extension-release.d";

/// The files of a tree that were changed or left out in the end.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// directories whose opaque markers, which the script created, were removed
    pub(super) opaque: Vec<Utf8PathBuf>,
    /// files and links outside /usr and /opt, which were left out
    pub(super) dropped: Vec<Utf8PathBuf>,
}

/// Applies the recipe's `[finish]` to a tree.
///
/// # Errors
/// See [`BuildError`].
pub(super) fn finish(
    staged: &mut Staged,
    recipe: &Recipe,
    environment: &Environment<'_>,
) -> Result<Finished, BuildError> {
    let origin: Arc<str> = Arc::from("the recipe");
    install_mask(staged, recipe)?;
    let opaque = match Script::of(recipe) {
        Some(script) => mangle::run(staged, &script, environment)?,
        None => Vec::new(),
    };
    if let Some(Etc::Tmpfiles) = recipe.finish.etc {
        etc_tmpfiles::convert(staged, recipe.name())?;
    }
    let dropped = drop_outside(staged)?;
    for pattern in &recipe.finish.remove {
        let glob = globs::compile(recipe, std::slice::from_ref(pattern))?;
        let matching = matching(staged, &glob);
        if matching.is_empty() {
            // Otherwise a file that the recipe means to remove could stay in the extension.
            let cause = format!("`{}` matches nothing in the extension", pattern.get_ref());
            return Err(recipe.error(pattern, cause, "remove the pattern, or correct it").into());
        }
        for path in matching {
            staged.remove(&path)?;
        }
    }
    for (from, to) in &recipe.finish.moves {
        staged.move_contents(&below_root(from), &below_root(to.get_ref()), &origin)?;
    }
    for (target, units) in &recipe.finish.upholds {
        uphold(staged, target, units, &origin)?;
    }
    Ok(Finished { opaque, dropped })
}

/// Removes everything outside /usr and /opt, as `build_sysext` does after its script, and returns the files
/// and links.
fn drop_outside(staged: &mut Staged) -> Result<Vec<Utf8PathBuf>, BuildError> {
    let outside: Vec<(Utf8PathBuf, bool)> = staged
        .nodes()
        .filter(|(path, _)| !is_kept(path))
        .map(|(path, node)| (path.to_owned(), node.kind == NodeKind::Directory))
        .collect();
    for (path, _) in outside.iter().filter(|(path, _)| path.components().count() == 1) {
        staged.remove(path)?;
    }
    Ok(outside.into_iter().filter(|(_, is_directory)| !is_directory).map(|(path, _)| path).collect())
}

/// Removes the files that `install-mask` matches, and the directories that are empty afterwards.
fn install_mask(staged: &mut Staged, recipe: &Recipe) -> Result<(), BuildError> {
    let globs = globs::compile(recipe, &recipe.finish.install_mask)?;
    for path in matching(staged, &globs) {
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

/// The paths in a tree that globs match.
fn matching(staged: &Staged, globs: &GlobSet) -> Vec<Utf8PathBuf> {
    let paths = staged.nodes().map(|(path, _)| path);
    paths.filter(|path| globs::matches(globs, path)).map(Utf8Path::to_owned).collect()
}

/// Writes drop-ins as Flatcar's own extensions have them: one for each unit, `10-docker-socket.conf`.
fn uphold(staged: &mut Staged, target: &str, units: &[String], origin: &Arc<str>) -> Result<(), StageError> {
    for unit in units {
        let path = format!("{UNITS}/{target}.d/10-{}.conf", unit.replace('.', "-"));
        let text = format!("[Unit]\nUpholds={unit}\n");
        staged.put_file(Utf8Path::new(&path), 0o644, &mut text.as_bytes(), origin)?;
    }
    Ok(())
}

/// Whether the tree contains units, which systemd finds only when it reloads.
pub(super) fn has_units(staged: &Staged) -> bool {
    staged.nodes().any(|(path, node)| path.starts_with(UNITS) && node.kind != NodeKind::Directory)
}

/// Writes the extension-release file, of which an extension has exactly one.
///
/// # Errors
/// A source has added one; see also [`StageError`].
pub(super) fn put_release(
    staged: &mut Staged,
    recipe: &Recipe,
    release: &OsRelease,
) -> Result<(), BuildError> {
    let name = recipe.compatible.release_name.as_deref().unwrap_or(recipe.name());
    let path = Utf8Path::new(RELEASES).join(format!("extension-release.{name}"));
    let existing = staged.nodes().find(|(path, _)| path.parent() == Some(Utf8Path::new(RELEASES)));
    if let Some((path, node)) = existing {
        return Err(BuildError::SecondRelease { path: path.to_owned(), origin: Arc::clone(&node.origin) });
    }
    let origin: Arc<str> = Arc::from("the builder");
    staged.put_file(&path, 0o644, &mut release_file::write(release).as_bytes(), &origin)?;
    Ok(())
}
