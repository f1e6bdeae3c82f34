// SPDX-License-Identifier: Apache-2.0
//! The recipe of an extension that is a directory on the host.
use std::collections::BTreeMap;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::digest::sha256;
use loadgauge_host::{Entry, FileError, Store, fs};
use loadgauge_images::OsRelease;
use loadgauge_images::extension_image::releases_of_directory;

use super::CatalogueError;

/// The fields of extension-release that a recipe can set, with its keys for them.
const FIELDS: [(&str, &str); 4] = [
    ("ID", "id"),
    ("VERSION_ID", "version-id"),
    ("SYSEXT_LEVEL", "sysext-level"),
    ("ARCHITECTURE", "architecture"),
];

/// Writes a recipe whose extension has the files and the name of a directory. The fields of the
/// directory's own extension-release file are kept; without one it is written for the image.
///
/// # Errors
/// The directory or the store cannot be used, or the extension-release file lacks a field without which
/// systemd-sysext skips the extension.
pub(super) fn recipe_of_directory(
    directory: &Utf8Path,
    store: &Store,
) -> Result<Utf8PathBuf, CatalogueError> {
    let path = directory.canonicalize_utf8().map_err(FileError::at("resolve", directory))?;
    let name = path.file_name().unwrap_or_default();
    let texts = releases_of_directory(&path)?.into_iter();
    let mut own: BTreeMap<String, OsRelease> =
        texts.filter_map(|(name, text)| Some((name, OsRelease::parse(&text).ok()?))).collect();
    // A file of another name is kept too: systemd-sysext judges it.
    let release = own.remove_entry(name).or_else(|| own.pop_first());
    let text = recipe(&path, name, release.as_ref())?;
    let file = format!("{name}.toml");
    let kept = match store.entry("recipe-of-directory", &sha256(&text))? {
        Entry::Ready(kept) => kept,
        Entry::Vacant(vacancy) => {
            fs::write(vacancy.directory().join(&file), &text)?;
            vacancy.commit()?
        }
    };
    Ok(kept.join(file))
}

/// The text of the recipe.
fn recipe(
    path: &Utf8Path,
    name: &str,
    release: Option<&(String, OsRelease)>,
) -> Result<String, CatalogueError> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let source = quoted(path.as_str());
    let Some((release_name, release)) = release else {
        return Ok(format!("name = {}\n[[tree]]\nsource = {source}\n", quoted(name)));
    };
    let missing = |field| {
        let file = format!("usr/lib/extension-release.d/extension-release.{release_name}");
        Err(CatalogueError::Release { path: path.join(file), field })
    };
    let Some(id) = release.get("ID") else { return missing("ID") };
    if id != "_any" && release.get("VERSION_ID").is_none() && release.get("SYSEXT_LEVEL").is_none() {
        return missing("VERSION_ID or SYSEXT_LEVEL");
    }
    let mut text = format!("name = {}\n[[image]]\nsource = {source}\n[compatible]\n", quoted(name));
    // Writing to a string cannot fail.
    for (field, key) in FIELDS {
        if let Some(value) = release.get(field) {
            let _ = writeln!(text, "{key} = {}", quoted(value));
        }
    }
    if let Some(reload) = release.get("EXTENSION_RELOAD_MANAGER") {
        let _ = writeln!(text, "reload-manager = {}", ["1", "yes", "true", "on"].contains(&reload));
    }
    if release_name != name {
        let _ = writeln!(text, "release-name = {}", quoted(release_name));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use loadgauge_builder::Recipe;

    use super::*;

    fn read(release: Option<(&str, &str)>) -> Result<Recipe, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
        let tree = root.join("my \"dir\"/tool");
        let place = tree.join("usr/lib/extension-release.d");
        std::fs::create_dir_all(&place).expect("made");
        if let Some((name, text)) = release {
            std::fs::write(place.join(format!("extension-release.{name}")), text).expect("written");
        }
        let store = Store::at(root.join("store"));
        let path = recipe_of_directory(&tree, &store).map_err(|error| error.to_string())?;
        Recipe::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_directory_without_an_extension_release_is_a_tree() {
        let recipe = read(None).expect("a recipe");
        assert_eq!((recipe.trees.len(), recipe.images.len()), (1, 0));
        assert!(recipe.trees[0].source.get_ref().ends_with("my \"dir\"/tool"));
    }

    #[test]
    fn the_fields_of_an_extension_release_are_kept() {
        let text = "ID=flatcar\nVERSION_ID=1.2\nARCHITECTURE=arm64\nEXTENSION_RELOAD_MANAGER=1\n";
        let recipe = read(Some(("other", text))).expect("a recipe");
        assert_eq!((recipe.trees.len(), recipe.images.len()), (0, 1));
        let compatible = recipe.compatible;
        assert_eq!(compatible.id.as_deref(), Some("flatcar"));
        assert_eq!(compatible.version_id.as_deref(), Some("1.2"));
        assert_eq!((compatible.sysext_level, compatible.reload_manager), (None, Some(true)));
        assert_eq!(compatible.architecture.as_deref(), Some("arm64"));
        assert_eq!(compatible.release_name.as_deref(), Some("other"));
    }

    #[test]
    fn what_systemd_would_skip_is_refused() {
        for (text, field) in [("VERSION_ID=1\n", "ID"), ("ID=flatcar\n", "VERSION_ID or SYSEXT_LEVEL")] {
            let error = read(Some(("tool", text))).expect_err(text);
            let expected = format!(" has no {field}, so systemd-sysext would skip the extension");
            assert!(error.ends_with(&expected), "{error}");
        }
        assert!(read(Some(("x", "ID=_any\n"))).is_ok());
    }
}
