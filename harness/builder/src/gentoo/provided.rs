// SPDX-License-Identifier: Apache-2.0
//! Packages that count as installed although they are not (Portage's `package.provided`).
use super::atom::Atom;
use super::pool::PackagePool;
use super::sdk;
use super::section::atoms;
use super::version::split_name;
use crate::recipe::{GentooSection, Recipe, RecipeError};

/// Example of an entry, for hints.
const EXAMPLE: &str = "use a category, a name and a version, such as \"virtual/mta-1\"";

/// Adds the provided packages of a section, and those of Flatcar's SDK at the release unless the section
/// does without them; of the SDK's, packages that the section asks for are left out.
///
/// # Errors
/// An entry of the section is invalid.
pub(super) fn provide(
    pool: &mut PackagePool,
    recipe: &Recipe,
    section: &GentooSection,
    major: u32,
) -> Result<(), RecipeError> {
    for text in &section.package_provided {
        pool.provide(text.get_ref()).map_err(|error| recipe.error(text, error.to_string(), EXAMPLE))?;
    }
    if !section.sdk_package_provided {
        return Ok(());
    }
    let requested = atoms(section);
    for text in sdk::entries(sdk::PACKAGE_PROVIDED, major).filter(|text| !is_requested(text, &requested)) {
        pool.provide(text).map_err(|error| recipe.error(&recipe.name, error.to_string(), EXAMPLE))?;
    }
    Ok(())
}

fn is_requested(text: &str, requested: &[Atom]) -> bool {
    split_name(text).is_some_and(|(name, _)| requested.iter().any(|atom| atom.name == name))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    fn provided(section: &str, major: u32, atoms: &[&str]) -> Vec<bool> {
        let text = format!("name = \"x\"\n[[gentoo]]\n{section}");
        let recipe = Recipe::parse(&text, Utf8Path::new("x.toml")).expect("a recipe");
        let mut pool = PackagePool::default();
        provide(&mut pool, &recipe, &recipe.gentoo[0], major).expect("packages");
        let is_provided = |atom: &&str| pool.provided(&Atom::parse(atom).expect("an atom")).is_some();
        atoms.iter().map(is_provided).collect()
    }

    #[test]
    fn the_packages_of_a_recipe_are_added_and_requested_ones_are_left_out() {
        let of = |section| provided(section, 4593, &["virtual/mta", ">=dev-lang/perl-5.36", "a/c"]);
        assert_eq!(of("packages = [\"a/b\"]\n"), [true, true, false]);
        assert_eq!(of("packages = [\"dev-lang/perl\"]\n"), [true, false, false]);
        assert_eq!(of("packages = [\"dev-lang/perl-cleaner\"]\n"), [true, true, false]);
        assert_eq!(of("packages = [\"a/b\"]\npackage-provided = [\"a/c-1\"]\n"), [true, true, true]);
        let none = "packages = [\"a/b\"]\nsdk-package-provided = false\n";
        assert_eq!(of(none), [false; 3]);
        assert_eq!(of(&format!("{none}package-provided = [\"a/c-1\"]\n")), [false, false, true]);
    }

    #[test]
    fn the_packages_of_the_sdk_are_those_of_the_release() {
        let atoms = [
            "sys-fs/udev-init-scripts",
            "dev-lang/perl",
            ">=dev-lang/perl-5.42",
            "dev-libs/icu",
            "sys-process/psmisc",
            "app-eselect/eselect-lua",
            "app-admin/setools",
        ];
        let of = |major| provided("packages = [\"a/b\"]\n", major, &atoms);
        assert_eq!(of(3654), [false, false, false, false, false, true, false]);
        assert_eq!(of(4081), [true, false, false, false, false, false, false]);
        assert_eq!(of(4593), [true, true, false, true, true, false, false]);
        assert_eq!(of(4628), [true, true, true, true, true, false, false]);
    }
}
