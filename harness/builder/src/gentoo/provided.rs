// SPDX-License-Identifier: Apache-2.0
//! Packages that count as installed although they are not (Portage's `package.provided`).
use loadgauge_images::Architecture;

use super::atom::Atom;
use super::pool::PackagePool;
use super::sdk;
use super::section::atoms;
use super::version::split_name;
use crate::recipe::{GentooSection, Recipe, RecipeError};

/// Example of an entry, for hints.
const EXAMPLE: &str = "use a category, a name and a version, such as \"virtual/mta-1\"";

/// Adds the provided packages of a section, or those of Flatcar's SDK where the section has none; of the
/// SDK's, packages that the section asks for are left out.
///
/// # Errors
/// An entry of the section is invalid.
pub(super) fn provide(
    pool: &mut PackagePool,
    recipe: &Recipe,
    section: &GentooSection,
    architecture: Architecture,
) -> Result<(), RecipeError> {
    if let Some(provided) = &section.package_provided {
        for text in provided {
            pool.provide(text.get_ref()).map_err(|error| recipe.error(text, error.to_string(), EXAMPLE))?;
        }
        return Ok(());
    }
    let requested = atoms(section);
    for text in of_sdk(architecture).filter(|text| !is_requested(text, &requested)) {
        pool.provide(text).map_err(|error| recipe.error(&recipe.name, error.to_string(), EXAMPLE))?;
    }
    Ok(())
}

/// The packages that count as installed in Flatcar's SDK.
fn of_sdk(architecture: Architecture) -> impl Iterator<Item = &'static str> {
    let of_architecture = match architecture {
        Architecture::Amd64 => "",
        Architecture::Arm64 => sdk::PACKAGE_PROVIDED_ARM64,
    };
    [sdk::PACKAGE_PROVIDED, of_architecture].into_iter().flat_map(sdk::entries)
}

fn is_requested(text: &str, requested: &[Atom]) -> bool {
    split_name(text).is_some_and(|(name, _)| requested.iter().any(|atom| atom.name == name))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn provided(section: &str, architecture: Architecture) -> Vec<bool> {
        let text = format!("name = \"x\"\n[[gentoo]]\n{section}");
        let recipe = Recipe::parse(&text, Utf8Path::new("x.toml")).expect("a recipe");
        let mut pool = PackagePool::default();
        provide(&mut pool, &recipe, &recipe.gentoo[0], architecture).expect("packages");
        ["virtual/mta", ">=dev-lang/perl-5.36", "dev-libs/gobject-introspection", "a/c"]
            .iter()
            .map(|atom| pool.is_provided(&Atom::parse(atom).expect("an atom")))
            .collect()
    }

    #[test]
    fn the_packages_of_a_recipe_replace_those_of_the_sdk_and_requested_ones_are_left_out() {
        let amd64 = |section| provided(section, Architecture::Amd64);
        assert_eq!(amd64("packages = [\"a/b\"]\n"), [true, true, false, false]);
        assert_eq!(amd64("packages = [\"dev-lang/perl\"]\n"), [true, false, false, false]);
        assert_eq!(amd64("packages = [\"dev-lang/perl-cleaner\"]\n"), [true, true, false, false]);
        assert_eq!(amd64("packages = [\"a/b\"]\npackage-provided = []\n"), [false; 4]);
        assert_eq!(
            amd64("packages = [\"a/b\"]\npackage-provided = [\"a/c-1\"]\n"),
            [false, false, false, true]
        );
        assert_eq!(provided("packages = [\"a/b\"]\n", Architecture::Arm64), [true, true, true, false]);
    }
}
