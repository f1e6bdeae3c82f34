// SPDX-License-Identifier: Apache-2.0
use super::error::SourceError;
use super::traits::{Contents, Context, RequestedPackage, Source};
use crate::describe::{Component, Ecosystem, Input};
use crate::explain::Explanation;
use crate::gentoo::{self, SelectedPackage, Selection};
use crate::stage::Staged;

/// The `[[gentoo]]` sections of a recipe.
#[derive(Debug, Default)]
pub(super) struct GentooPackages {
    selection: Selection,
}

impl Source for GentooPackages {
    fn resolve(&mut self, context: &Context<'_>) -> Result<(), SourceError> {
        let (target, store) = (context.target, context.store);
        self.selection =
            gentoo::select(&context.recipes(), target, store, !context.explains, context.progress)?;
        Ok(())
    }

    fn key(&self, _: &Context<'_>) -> Result<Vec<String>, SourceError> {
        Ok(vec![gentoo::key(&self.selection)])
    }

    fn stage(&self, staged: &mut Staged, context: &Context<'_>) -> Result<Contents, SourceError> {
        let Context { recipe, target, store, progress, .. } = *context;
        let result = gentoo::stage(staged, recipe, &self.selection, target, store, progress)?;
        let gentoo::StagedPackages { dropped, database, about } = result;
        Ok(Contents { dropped, database, about, opaque: Vec::new() })
    }

    fn components(&self, context: &Context<'_>) -> Vec<Component> {
        let architecture = context.target.architecture.debian_name();
        // SPDX has other names for licences than Gentoo, so that none is given.
        let component = |package: &SelectedPackage| Component {
            name: package.name.clone(),
            version: package.version.clone(),
            ecosystem: Ecosystem::Gentoo,
            architecture: architecture.to_owned(),
            repository: if package.repository.is_empty() { "unknown" } else { &package.repository }
                .to_owned(),
            sha256: Some(package.sha256.clone()),
            license: None,
        };
        self.selection.packages().map(component).collect()
    }

    fn inputs(&self, context: &Context<'_>) -> Result<Vec<Input>, SourceError> {
        let packages = self.selection.packages().zip(self.components(context));
        Ok(packages
            .map(|(package, component)| Input {
                name: package.path.file_name().unwrap_or_default().to_owned(),
                uri: component.purl(),
                sha256: package.sha256.clone(),
            })
            .collect())
    }

    fn requested(&self, context: &Context<'_>) -> Vec<RequestedPackage> {
        let requested = |name: String| {
            let package = self.selection.packages().find(|package| package.name == name);
            let version = package.map(|package| package.version.clone());
            RequestedPackage { name, version }
        };
        gentoo::requested(context.recipe).map(requested).collect()
    }

    fn explanation(&self) -> Explanation {
        self.selection.explanation.clone()
    }

    fn warnings(&self) -> Vec<String> {
        self.selection.warnings.clone()
    }

    fn providers(&self, library: &str, context: &Context<'_>) -> Vec<String> {
        gentoo::packages_of_library(library, context.recipe, context.target, context.store, context.progress)
    }
}
