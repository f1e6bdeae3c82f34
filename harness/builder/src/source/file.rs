// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use camino::Utf8PathBuf;
use loadgauge_host::{FileError, digest, fs};

use super::error::SourceError;
use super::traits::{Contents, Context, Source};
use crate::describe::Input;
use crate::member::below_root;
use crate::stage::Staged;

/// The `[[file]]` sections of a recipe.
pub(super) struct Files;

impl Files {
    /// The files beside the recipe.
    fn sources(context: &Context<'_>) -> impl Iterator<Item = Utf8PathBuf> {
        let sources = context.recipe.files.iter().filter_map(|section| section.source.as_ref());
        sources.map(|source| context.recipe.beside(source.get_ref()))
    }
}

impl Source for Files {
    fn key(&self, context: &Context<'_>) -> Result<Vec<String>, SourceError> {
        Self::sources(context)
            .map(|path| Ok(digest::sha256_of_file(&path).map_err(FileError::at("read", &path))?))
            .collect()
    }

    fn stage(&self, staged: &mut Staged, context: &Context<'_>) -> Result<Contents, SourceError> {
        let (recipe, origin) = (context.recipe, Arc::from("the recipe"));
        for section in &recipe.files {
            let path = below_root(&recipe.fill(section.path.get_ref()));
            let mode = section.mode().unwrap_or(0o644);
            if let Some(target) = &section.link {
                staged.put_link(&path, &recipe.fill(target), &origin)?;
            } else if let Some(source) = &section.source {
                let mut contents = fs::open(recipe.beside(source.get_ref()))?;
                staged.put_file(&path, mode, &mut contents, &origin)?;
            } else {
                let contents = recipe.fill(section.contents.as_deref().unwrap_or_default());
                staged.put_file(&path, mode, &mut contents.as_bytes(), &origin)?;
            }
        }
        Ok(Contents::default())
    }

    fn inputs(&self, context: &Context<'_>) -> Result<Vec<Input>, SourceError> {
        Self::sources(context).map(|path| Ok(Input::of_file(&path, context.recipe.directory())?)).collect()
    }
}
