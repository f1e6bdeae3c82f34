// SPDX-License-Identifier: Apache-2.0
use serde::Deserialize;
use toml::Spanned;

use super::atom::Atom;
use super::pool::parse_provided;
use super::use_rule::UseRule;
use crate::recipe::Recipe;
use crate::recipe_error::RecipeError;

/// A `[[gentoo]]` section of a recipe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GentooSource {
    /// atoms of the requested packages: `app-misc/foo`, `>=dev-libs/bar-1.2:0[ssl]`
    pub packages: Vec<Spanned<String>>,
    /// a URL, where `{board}` and `{version-id}` stand for those of the image, or a directory relative to
    /// the recipe; by default Flatcar's binhost of the image's release
    pub binhost: Option<Spanned<String>>,
    /// USE flags of packages with several builds: `app-misc/foo ssl -x`
    #[serde(default, rename = "use")]
    pub flags: Vec<Spanned<String>>,
    /// packages that count as installed, instead of those of Flatcar's SDK
    pub provided: Option<Vec<Spanned<String>>>,
    /// globs of paths that are not installed, instead of those of Flatcar's SDK
    pub mask: Option<Vec<Spanned<String>>>,
    /// globs of further paths that are not installed
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
    /// whether `IDEPEND` counts as a dependency
    #[serde(default = "yes")]
    pub install_dependencies: bool,
}

fn yes() -> bool {
    true
}

impl GentooSource {
    /// The atoms of the requested packages, which [`Self::check`] has validated.
    pub(super) fn atoms(&self) -> Vec<Atom> {
        self.packages.iter().filter_map(|text| Atom::parse(text.get_ref()).ok()).collect()
    }

    /// Validates the values of the section.
    ///
    /// # Errors
    /// A value is invalid.
    pub(crate) fn check(&self, recipe: &Recipe) -> Result<(), RecipeError> {
        for package in &self.packages {
            let hint = "use an atom such as \"app-misc/foo\" or \">=dev-libs/bar-1.2:0[ssl]\"";
            let atom = Atom::parse(package.get_ref())
                .map_err(|error| recipe.error(package, error.to_string(), hint))?;
            if atom.blocker.is_some() {
                let message = format!("`{atom}` is a blocker, expected a package");
                return Err(recipe.error(package, message, hint));
            }
        }
        for rule in &self.flags {
            if UseRule::parse(rule.get_ref()).is_none() {
                let message = format!("`{}` is not a package with USE flags", rule.get_ref());
                let hint = "use a package and its USE flags, such as \"app-misc/foo ssl -x\"";
                return Err(recipe.error(rule, message, hint));
            }
        }
        for package in self.provided.iter().flatten() {
            let hint = "use a category, a name and a version, such as \"virtual/mta-1\"";
            parse_provided(package.get_ref())
                .map_err(|error| recipe.error(package, error.to_string(), hint))?;
        }
        if let Some(binhost) = self.binhost.as_ref().filter(|binhost| !binhost.get_ref().contains("://")) {
            let path = recipe.beside(binhost.get_ref().as_str().into());
            if !path.is_dir() {
                let message = format!("`{}` is neither a URL nor a directory", binhost.get_ref());
                return Err(recipe.error(binhost, message, &format!("looked for {path}")));
            }
        }
        Ok(())
    }
}
