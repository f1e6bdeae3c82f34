// SPDX-License-Identifier: Apache-2.0
use serde::Deserialize;
use toml::Spanned;

use super::super::recipe::Recipe;
use super::super::recipe_error::RecipeError;
use super::atom::Atom;
use super::source::read_rule;
use super::world::World;

/// One `[[gentoo]]` of a recipe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GentooSource {
    /// what is asked for: `app-misc/foo`, `>=dev-libs/bar-1.2:0[ssl]`
    pub packages: Vec<Spanned<String>>,
    /// a URL, in which `{board}` and `{version-id}` are those of the image, or a directory beside
    /// the recipe; where Flatcar keeps the packages of the image's release, when not given
    pub binhost: Option<Spanned<String>>,
    /// which builds are taken where there are several: `app-misc/foo ssl -x`
    #[serde(default, rename = "use")]
    pub flags: Vec<Spanned<String>>,
    /// packages that count as installed, in place of those that count as such in Flatcar's SDK
    pub provided: Option<Vec<Spanned<String>>>,
    /// globs of paths that are left out when a package is installed, in place of what Flatcar's SDK
    /// leaves out
    pub mask: Option<Vec<Spanned<String>>>,
    /// globs of paths that are left out besides
    #[serde(default)]
    pub exclude: Vec<Spanned<String>>,
    /// whether what install hooks use (`IDEPEND`) is taken too
    #[serde(default = "yes")]
    pub install_dependencies: bool,
}

fn yes() -> bool {
    true
}

impl GentooSource {
    /// Refuses what no recipe can say.
    ///
    /// # Errors
    /// A text is not what it should be.
    pub(crate) fn check(&self, recipe: &Recipe) -> Result<(), RecipeError> {
        for package in &self.packages {
            let hint = "such as \"app-misc/foo\" or \">=dev-libs/bar-1.2:0[ssl]\"";
            let atom = Atom::parse(package.get_ref())
                .map_err(|error| recipe.error(package, error.to_string(), hint))?;
            if atom.blocker.is_some() {
                let message = format!("`{atom}` forbids a package, and a recipe asks for some");
                return Err(recipe.error(package, message, hint));
            }
        }
        for rule in &self.flags {
            if read_rule(rule.get_ref()).is_none() {
                let message = format!("`{}` does not say which builds are wanted", rule.get_ref());
                let hint = "a package and its USE flags, such as \"app-misc/foo ssl -x\"";
                return Err(recipe.error(rule, message, hint));
            }
        }
        for package in self.provided.iter().flatten() {
            let hint = "a category, a name and a version, such as \"virtual/mta-1\"";
            World::default()
                .provide(package.get_ref())
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
