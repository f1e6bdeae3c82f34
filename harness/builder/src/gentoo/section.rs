// SPDX-License-Identifier: Apache-2.0
use super::super::recipe::{GentooSection, Recipe, RecipeError};
use super::atom::Atom;
use super::source::read_rule;
use super::world::World;

/// Checks the values of a `[[gentoo]]` section.
///
/// # Errors
/// A value is not valid.
pub(crate) fn check(section: &GentooSection, recipe: &Recipe) -> Result<(), RecipeError> {
    for package in &section.packages {
        let hint = "such as \"app-misc/foo\" or \">=dev-libs/bar-1.2:0[ssl]\"";
        let atom =
            Atom::parse(package.get_ref()).map_err(|error| recipe.error(package, error.to_string(), hint))?;
        if atom.blocker.is_some() {
            let message = format!("`{atom}` forbids a package, and a recipe asks for some");
            return Err(recipe.error(package, message, hint));
        }
    }
    for rule in &section.package_use {
        if read_rule(rule.get_ref()).is_none() {
            let message = format!("`{}` does not say which builds are wanted", rule.get_ref());
            let hint = "a package and its USE flags, such as \"app-misc/foo ssl -x\"";
            return Err(recipe.error(rule, message, hint));
        }
    }
    for package in section.package_provided.iter().flatten() {
        let hint = "a category, a name and a version, such as \"virtual/mta-1\"";
        World::default()
            .provide(package.get_ref())
            .map_err(|error| recipe.error(package, error.to_string(), hint))?;
    }
    if let Some(binhost) = section.binhost.as_ref().filter(|binhost| !binhost.get_ref().contains("://")) {
        let path = recipe.beside(binhost.get_ref().as_str().into());
        if !path.is_dir() {
            let message = format!("`{}` is neither a URL nor a directory", binhost.get_ref());
            return Err(recipe.error(binhost, message, &format!("looked for {path}")));
        }
    }
    Ok(())
}
