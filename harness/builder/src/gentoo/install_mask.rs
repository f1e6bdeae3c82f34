// SPDX-License-Identifier: Apache-2.0
//! Paths that are not installed from a package (Portage's `INSTALL_MASK`).
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::sdk;
use crate::globs;
use crate::recipe::{GentooSection, Recipe, RecipeError};

/// The install mask of a section, or that of Flatcar's SDK at the release where the section has none.
///
/// # Errors
/// A glob of the section is invalid.
pub(super) fn of_section(
    recipe: &Recipe,
    section: &GentooSection,
    major: u32,
) -> Result<GlobSet, RecipeError> {
    if let Some(mask) = &section.install_mask {
        return globs::compile(recipe, mask);
    }
    let mut builder = GlobSetBuilder::new();
    for pattern in sdk::entries(sdk::INSTALL_MASK, major) {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        builder.add(glob.map_err(|error| recipe.error(&recipe.name, error.to_string(), ""))?);
    }
    builder.build().map_err(|error| recipe.error(&recipe.name, error.to_string(), ""))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn masked(section: &str, paths: &[&str]) -> Vec<bool> {
        masked_at(section, 4593, paths)
    }

    fn masked_at(section: &str, major: u32, paths: &[&str]) -> Vec<bool> {
        let text = format!("name = \"x\"\n[[gentoo]]\npackages = [\"a/b\"]\n{section}");
        let recipe = Recipe::parse(&text, Utf8Path::new("x.toml")).expect("a recipe");
        let mask = of_section(&recipe, &recipe.gentoo[0], major).expect("globs");
        paths.iter().map(|path| globs::matches(&mask, Utf8Path::new(path))).collect()
    }

    #[test]
    fn the_mask_of_a_recipe_replaces_that_of_the_sdk() {
        let paths =
            ["usr/lib64/a/b.la", "usr/share/man/man1/x.1", "usr/bin/luac", "etc/init.d", "usr/bin/tool"];
        assert_eq!(masked("", &paths), [true, true, true, true, false]);
        assert_eq!(masked("install-mask = []\n", &paths), [false; 5]);
        assert_eq!(masked("install-mask = [\"/usr/bin/*\"]\n", &paths), [false, false, true, false, true]);
    }

    #[test]
    fn the_mask_of_the_sdk_is_that_of_the_release() {
        let paths = ["etc/logrotate.d/x", "etc/user/init.d/x", "usr/lib/debug/.build-id/00/x"];
        assert_eq!(masked_at("", 4230, &paths), [true, false, true]);
        assert_eq!(masked_at("", 4593, &paths), [false, true, true]);
        assert_eq!(masked_at("", 4669, &paths), [false, true, false]);
    }
}
