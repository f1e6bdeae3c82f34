// SPDX-License-Identifier: Apache-2.0
//! Globs over the paths of an extension.
use camino::Utf8Path;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use toml::Spanned;

use super::recipe::Recipe;
use super::recipe_error::RecipeError;

/// Globs as a recipe gives them: absolute, where `*` stays within a directory.
pub(super) fn compile(recipe: &Recipe, patterns: &[Spanned<String>]) -> Result<GlobSet, RecipeError> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern.get_ref()).literal_separator(true).build();
        builder.add(glob.map_err(|error| {
            recipe.error(pattern, error.to_string(), "a glob such as \"/usr/share/doc/**\"")
        })?);
    }
    let fail = |error: globset::Error| match patterns.first() {
        Some(first) => recipe.error(first, error.to_string(), ""),
        None => recipe.error(&recipe.name, error.to_string(), ""),
    };
    builder.build().map_err(fail)
}

/// Whether a glob covers a path, which is relative to the root. `/usr/share/doc/**` covers the
/// directory itself too, so that it does not stay behind empty.
pub(super) fn matches(globs: &GlobSet, path: &Utf8Path) -> bool {
    globs.is_match(format!("/{path}")) || globs.is_match(format!("/{path}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_with_all_it_holds() {
        let glob = |text: &str| GlobBuilder::new(text).literal_separator(true).build().expect("a glob");
        let globs = GlobSetBuilder::new()
            .add(glob("/usr/share/doc/**"))
            .add(glob("/usr/bin/*-stress"))
            .build()
            .expect("globs");
        let covered = ["usr/share/doc", "usr/share/doc/a", "usr/share/doc/a/b", "usr/bin/containerd-stress"];
        let spared = ["usr/share/docs", "usr/share", "usr/bin/a/b-stress", "usr/bin"];
        assert!(covered.iter().all(|path| matches(&globs, Utf8Path::new(path))));
        assert!(!spared.iter().any(|path| matches(&globs, Utf8Path::new(path))));
    }
}
