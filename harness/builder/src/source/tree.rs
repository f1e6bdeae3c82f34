// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::error::on_one_line;
use loadgauge_host::{FileError, Hint as _};
use walkdir::WalkDir;

use super::error::SourceError;
use super::traits::{Contents, Context, Source};
use crate::describe::Input;
use crate::stage::Staged;
use crate::tree::{TreeError, copy_tree};
use crate::tree_digest;

/// The `[[tree]]` sections of a recipe.
pub(super) struct Trees;

impl Source for Trees {
    fn key(&self, context: &Context<'_>) -> Result<Vec<String>, SourceError> {
        let mut lines = Vec::new();
        for section in &context.recipe.trees {
            lines.extend(tree_digest::listing(&context.recipe.beside(section.source.get_ref()))?);
        }
        Ok(lines)
    }

    fn stage(&self, staged: &mut Staged, context: &Context<'_>) -> Result<Contents, SourceError> {
        let mut contents = Contents::default();
        for section in &context.recipe.trees {
            let recipe = context.recipe;
            let opaque = copy_tree(staged, &recipe.beside(section.source.get_ref()));
            contents.opaque.extend(opaque.map_err(|error| match error {
                TreeError::Forbidden { .. } | TreeError::Name { .. } => {
                    let cause = on_one_line(&error);
                    recipe.error(&section.source, cause, &error.hint().unwrap_or_default()).into()
                }
                other => SourceError::from(other),
            })?);
        }
        Ok(contents)
    }

    fn inputs(&self, context: &Context<'_>) -> Result<Vec<Input>, SourceError> {
        let mut inputs = Vec::new();
        for section in &context.recipe.trees {
            let root = context.recipe.beside(section.source.get_ref());
            for entry in WalkDir::new(&root).sort_by_file_name() {
                let entry = entry.map_err(|error| FileError::at("read", &root)(error.into()))?;
                if let (true, Some(path)) = (entry.file_type().is_file(), Utf8Path::from_path(entry.path())) {
                    inputs.push(Input::of_file(path, context.recipe.directory())?);
                }
            }
        }
        Ok(inputs)
    }
}
