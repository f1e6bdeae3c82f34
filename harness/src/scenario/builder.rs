// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use loadgauge_host::Store;
use loadgauge_images::Image;

use super::{BuildFailure, Order};
use loadgauge_builder::{BuildError, Extension, Recipe, Target, build};

/// A builder for an image that keeps what it built in a store; `progress` is told what is done.
pub fn builder<'a>(
    image: &'a Image,
    store: &'a Store,
    progress: &'a dyn Fn(&str),
) -> impl Fn(&Order<'_>) -> Result<Extension, BuildFailure> + 'a {
    // What lies in the image is the same for all of them.
    let target = Target::of_image(image);
    move |order| {
        let recipe = Recipe::load(order.recipe).map_err(BuildError::from)?;
        let recipe = match order.name {
            Some(name) => recipe.with_name(name),
            None => recipe,
        };
        let format = recipe.format(order.format);
        let built = build(&recipe, &target, format, store, progress)?;
        for warning in &built.warnings {
            tracing::warn!(extension = %built.extension.name, "{warning}");
        }
        Ok(built.extension)
    }
}

impl From<BuildError> for BuildFailure {
    fn from(error: BuildError) -> Self {
        Self { hint: error.hint(), lacking: error.is_host(), error: Box::new(error) }
    }
}
