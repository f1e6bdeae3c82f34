// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::{Entry, Scratch, Store};

use super::assembly::assemble;
use super::plan::Plan;
use super::result::Built;
use crate::base_extensions;
use crate::build_error::BuildError;
use crate::explain::Explanation;
use crate::extension::Format;
use crate::recipe::Recipe;
use crate::source::{self, Context};
use crate::target::Target;

/// Builds an extension, or finds an earlier build of it in the store.
///
/// A build is kept under everything that decides its bytes: the recipe, its files, the resolved
/// packages, the fields of its extension-release file, the packer with its version, and the time. The
/// resolution of Debian packages is kept too, so that a later build takes the same ones. `progress`
/// receives a short text for every step.
///
/// # Errors
/// See [`BuildError`].
pub fn build(
    recipe: &Recipe,
    target: &Target<'_>,
    format: Format,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Built, BuildError> {
    let base_extensions = base_extensions::of_recipe(recipe)?;
    let context =
        Context { recipe, base_extensions: &base_extensions, target, store, explains: false, progress };
    let plan = Plan::new(&context, format)?;
    let built = match store.entry("sysext", &plan.key)? {
        Entry::Ready(path) => Built::read(&path)?,
        Entry::Vacant(vacancy) => {
            assemble(&plan, &|recipe| directory(recipe, &context), vacancy.directory())?;
            Built { cached: false, ..Built::read(&vacancy.commit()?)? }
        }
    };
    Ok(plan.with_predictions(built))
}

/// Builds a base extension as a directory.
fn directory(recipe: &Recipe, context: &Context<'_>) -> Result<Built, BuildError> {
    build(recipe, context.target, Format::Directory, context.store, context.progress)
}

/// Explains which packages go into an extension and why, and which ones the base has. Nothing is built.
///
/// # Errors
/// See [`BuildError`].
pub fn explain(
    recipe: &Recipe,
    target: &Target<'_>,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Explanation, BuildError> {
    let base_extensions = base_extensions::of_recipe(recipe)?;
    let context =
        Context { recipe, base_extensions: &base_extensions, target, store, explains: true, progress };
    let mut explanation = Explanation::default();
    for mut source in source::of_recipe(recipe) {
        source.resolve(&context)?;
        explanation.extend(source.explanation());
    }
    Ok(explanation)
}

/// Builds an extension a second time in another directory, and compares it with the kept build.
///
/// # Errors
/// See [`BuildError`]; [`BuildError::NotReproducible`] where they differ.
pub fn check_reproducible(
    recipe: &Recipe,
    target: &Target<'_>,
    format: Format,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<Built, BuildError> {
    let built = build(recipe, target, format, store, progress)?;
    let base_extensions = base_extensions::of_recipe(recipe)?;
    let context =
        Context { recipe, base_extensions: &base_extensions, target, store, explains: false, progress };
    let plan = Plan::new(&context, format)?;
    let scratch = Scratch::new_in(store.root().as_std_path())?;
    let scratch_path = scratch.path();
    let again = assemble(&plan, &|recipe| directory(recipe, &context), scratch_path)?;
    if again.extension.sha512 == built.extension.sha512 {
        return Ok(built);
    }
    let (name, first, second) = (plan.name(), built.extension.sha512, again.extension.sha512);
    Err(BuildError::NotReproducible { name, format, first, second })
}
