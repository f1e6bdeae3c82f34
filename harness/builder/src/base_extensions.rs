// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::recipe::{Recipe, RecipeError};

/// The recipes that count as part of a recipe's base, each after its own base extensions.
///
/// # Errors
/// One does not exist or is wrong, or two are base extensions of each other.
pub(super) fn of_recipe(recipe: &Recipe) -> Result<Vec<Recipe>, RecipeError> {
    let mut found = Vec::new();
    collect(recipe, &mut found, &mut BTreeSet::new())?;
    Ok(found)
}

/// `open` has the recipes whose base extensions are being collected.
fn collect(
    recipe: &Recipe,
    found: &mut Vec<Recipe>,
    open: &mut BTreeSet<Utf8PathBuf>,
) -> Result<(), RecipeError> {
    open.insert(recipe.path.clone());
    for name in &recipe.base_extensions {
        let path = recipe.beside(Utf8Path::new(&format!("{}.toml", name.get_ref())));
        if found.iter().any(|member| member.path == path) {
            continue;
        }
        if open.contains(&path) {
            let cause = format!("`{}` is built on `{}` in turn", name.get_ref(), recipe.name());
            return Err(recipe.error(name, cause, "remove one of them from base-extensions"));
        }
        if !path.is_file() {
            let cause = format!("there is no recipe `{}`", name.get_ref());
            return Err(recipe.error(name, cause, &format!("create {path}, or correct the name")));
        }
        let member = Recipe::load(&path)?;
        collect(&member, found, open)?;
        found.push(member);
    }
    Ok(())
}
