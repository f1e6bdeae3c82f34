// SPDX-License-Identifier: Apache-2.0
use super::error::SourceError;
use super::traits::{Contents, Context, Source};
use crate::archive;
use crate::describe::Input;
use crate::stage::Staged;

/// The `[[archive]]` sections of a recipe.
pub(super) struct Archives;

impl Source for Archives {
    /// The digests of archives are in the recipe.
    fn key(&self, _: &Context<'_>) -> Result<Vec<String>, SourceError> {
        Ok(Vec::new())
    }

    fn stage(&self, staged: &mut Staged, context: &Context<'_>) -> Result<Contents, SourceError> {
        let mut contents = Contents::default();
        for section in &context.recipe.archives {
            let (recipe, store) = (context.recipe, context.store);
            contents.dropped.extend(archive::stage(staged, recipe, section, store, context.progress)?);
        }
        Ok(contents)
    }

    fn inputs(&self, context: &Context<'_>) -> Result<Vec<Input>, SourceError> {
        let inputs = context.recipe.archives.iter().map(|section| {
            let uri = match (&section.source, &section.url) {
                (Some(source), _) => source.get_ref().to_string(),
                (None, url) => url.as_ref().map(|url| url.get_ref().clone()).unwrap_or_default(),
            };
            Input::of_uri(uri, section.sha256.get_ref().clone())
        });
        Ok(inputs.collect())
    }
}
