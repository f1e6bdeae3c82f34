// SPDX-License-Identifier: Apache-2.0
use super::error::SourceError;
use super::traits::{Contents, Context, Source};
use crate::describe::Input;
use crate::image;
use crate::stage::Staged;
use crate::tree_digest::sha256_of_file_or_directory;

/// The `[[image]]` sections of a recipe.
pub(super) struct Images;

impl Source for Images {
    fn key(&self, context: &Context<'_>) -> Result<Vec<String>, SourceError> {
        let files = context.recipe.images.iter().filter_map(|section| section.source.as_ref());
        let digest = |path| Ok(sha256_of_file_or_directory(&context.recipe.beside(path))?);
        files.map(|path| digest(path.get_ref())).collect()
    }

    fn stage(&self, staged: &mut Staged, context: &Context<'_>) -> Result<Contents, SourceError> {
        let mut contents = Contents::default();
        for section in &context.recipe.images {
            let (recipe, store) = (context.recipe, context.store);
            let image = image::stage(staged, recipe, section, store, context.progress)?;
            contents.dropped.extend(image.dropped);
            contents.opaque.extend(image.opaque);
        }
        Ok(contents)
    }

    fn inputs(&self, context: &Context<'_>) -> Result<Vec<Input>, SourceError> {
        let input = |section: &crate::recipe::ImageSection| {
            let url = section.url.as_ref().map(|url| url.get_ref().clone());
            let Some(source) = &section.source else {
                let sha256 = section.sha256.as_ref().map(|sha256| sha256.get_ref().clone());
                return Ok(Input::of_uri(url.unwrap_or_default(), sha256.unwrap_or_default()));
            };
            let sha256 = sha256_of_file_or_directory(&context.recipe.beside(source.get_ref()))?;
            Ok(Input::of_uri(source.get_ref().to_string(), sha256))
        };
        context.recipe.images.iter().map(input).collect()
    }
}
