// SPDX-License-Identifier: Apache-2.0
use std::error::Error;
use std::fmt;

use camino::Utf8Path;
use loadgauge_builder::{BuildError, Extension, Format, Recipe, Target, build};
use loadgauge_host::{Hint, Store};
use loadgauge_images::Image;

/// An extension to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildRequest<'a> {
    /// the recipe file
    pub recipe: &'a Utf8Path,
    /// name that replaces the one of the recipe
    pub name: Option<&'a str>,
    /// format that replaces the one of the recipe
    pub format: Option<Format>,
}

/// An extension cannot be built. Displays as the error that it contains.
#[derive(Debug)]
pub struct BuildFailure {
    /// the error of the builder
    pub error: Box<dyn Error + Send + Sync>,
    /// the hint of that error
    pub hint: Option<String>,
    /// whether the host lacks something, so that the recipe is not at fault
    pub host: bool,
}

impl fmt::Display for BuildFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl Error for BuildFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl Hint for BuildFailure {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl From<BuildError> for BuildFailure {
    fn from(error: BuildError) -> Self {
        Self { hint: error.hint(), host: error.is_host(), error: Box::new(error) }
    }
}

/// Builds an extension, or finds it in the store.
pub type Builder<'a> = dyn Fn(&BuildRequest<'_>) -> Result<Extension, BuildFailure> + 'a;

/// A builder for an image that keeps extensions in a store and reports its progress.
pub fn builder<'a>(
    image: &'a Image,
    store: &'a Store,
    progress: &'a dyn Fn(&str),
) -> impl Fn(&BuildRequest<'_>) -> Result<Extension, BuildFailure> + 'a {
    let target = Target::of_image(image);
    move |request| {
        let recipe = Recipe::load(request.recipe).map_err(BuildError::from)?;
        let recipe = match request.name {
            Some(name) => recipe.with_name(name),
            None => recipe,
        };
        let format = recipe.format(request.format);
        let built = build(&recipe, &target, format, store, progress)?;
        for warning in &built.warnings {
            tracing::warn!(extension = %built.extension.name, "{warning}");
        }
        Ok(built.extension)
    }
}
