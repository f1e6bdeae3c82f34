// SPDX-License-Identifier: Apache-2.0
//! Globs over the paths of an extension.
use camino::Utf8Path;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use toml::Spanned;

use super::recipe::{Recipe, RecipeError};

/// Compiles the globs of a recipe: absolute paths, in which `*` does not match `/`.
///
/// # Errors
/// A pattern is not valid.
pub(super) fn compile(recipe: &Recipe, patterns: &[Spanned<String>]) -> Result<GlobSet, RecipeError> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern.get_ref()).literal_separator(true).build();
        builder.add(glob.map_err(|error| {
            recipe.error(pattern, error.to_string(), "write a glob such as \"/usr/share/doc/**\"")
        })?);
    }
    let fail = |error: globset::Error| match patterns.first() {
        Some(first) => recipe.error(first, error.to_string(), ""),
        None => recipe.error(&recipe.name, error.to_string(), ""),
    };
    builder.build().map_err(fail)
}

/// Whether a glob matches a path relative to the root. `/usr/share/doc/**` matches the directory itself too,
/// so that no empty directory remains.
pub(super) fn matches(globs: &GlobSet, path: &Utf8Path) -> bool {
    globs.is_match(format!("/{path}")) || globs.is_match(format!("/{path}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_matches_with_its_entries() {
        let glob = |text: &str| GlobBuilder::new(text).literal_separator(true).build().expect("a glob");
        let globs = GlobSetBuilder::new()
            .add(glob("/usr/share/doc/**"))
            .add(glob("/usr/bin/*-stress"))
            .build()
            .expect("globs");
        let matching = ["usr/share/doc", "usr/share/doc/a", "usr/share/doc/a/b", "usr/bin/containerd-stress"];
        let others = ["usr/share/docs", "usr/share", "usr/bin/a/b-stress", "usr/bin"];
        assert!(matching.iter().all(|path| matches(&globs, Utf8Path::new(path))));
        assert!(!others.iter().any(|path| matches(&globs, Utf8Path::new(path))));
    }
}
