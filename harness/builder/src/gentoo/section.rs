// SPDX-License-Identifier: Apache-2.0
use super::atom::Atom;
use super::pool::parse_provided;
use super::use_rule::UseRule;
use crate::recipe::{GentooSection, Recipe, RecipeError};

/// The atoms of the requested packages, which [`check`] has validated.
pub(super) fn atoms(section: &GentooSection) -> Vec<Atom> {
    section.packages.iter().filter_map(|text| Atom::parse(text.get_ref()).ok()).collect()
}

/// The names of the packages that a recipe requests.
pub(crate) fn requested(recipe: &Recipe) -> impl Iterator<Item = String> {
    recipe.gentoo.iter().flat_map(atoms).map(|atom| atom.name)
}

/// Checks the values of a `[[gentoo]]` section.
///
/// # Errors
/// A value is not valid.
pub(crate) fn check(section: &GentooSection, recipe: &Recipe) -> Result<(), RecipeError> {
    for package in &section.packages {
        let hint = "use an atom such as \"app-misc/foo\" or \">=dev-libs/bar-1.2:0[ssl]\"";
        let atom =
            Atom::parse(package.get_ref()).map_err(|error| recipe.error(package, error.to_string(), hint))?;
        if atom.blocker.is_some() {
            let message = format!("`{atom}` is a blocker, expected a package");
            return Err(recipe.error(package, message, hint));
        }
    }
    for rule in &section.package_use {
        if UseRule::parse(rule.get_ref()).is_none() {
            let message = format!("`{}` is not a package with USE flags", rule.get_ref());
            let hint = "use a package and its USE flags, such as \"app-misc/foo ssl -x\"";
            return Err(recipe.error(rule, message, hint));
        }
    }
    for package in &section.package_provided {
        let hint = "use a category, a name and a version, such as \"virtual/mta-1\"";
        parse_provided(package.get_ref()).map_err(|error| recipe.error(package, error.to_string(), hint))?;
    }
    if let Some(binhost) = section.binhost.as_ref().filter(|binhost| !binhost.get_ref().contains("://")) {
        let path = recipe.beside(binhost.get_ref().as_str().into());
        if !path.is_dir() {
            let message = format!("`{}` is neither a URL nor a directory", binhost.get_ref());
            return Err(recipe.error(
                binhost,
                message,
                &format!("create the directory {path}, or use a URL"),
            ));
        }
    }
    Ok(())
}
