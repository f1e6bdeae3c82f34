// SPDX-License-Identifier: Apache-2.0
use super::error::SourceError;
use super::traits::{Contents, Context, RequestedPackage, Source};
use crate::debian::{self, Package, Resolved};
use crate::describe::{Component, Ecosystem, Input};
use crate::explain::Explanation;
use crate::stage::Staged;

/// The `[[debian]]` sections of a recipe.
#[derive(Debug, Default)]
pub(super) struct DebianPackages {
    resolved: Resolved,
}

impl DebianPackages {
    fn packages(&self) -> impl Iterator<Item = &Package> {
        self.resolved.groups.iter().flatten()
    }
}

impl Source for DebianPackages {
    fn resolve(&mut self, context: &Context<'_>) -> Result<(), SourceError> {
        let (base, store) = (context.target.base, context.store);
        self.resolved = debian::resolve_recipe(&context.recipes(), base, store, context.progress)?;
        Ok(())
    }

    fn key(&self, _: &Context<'_>) -> Result<Vec<String>, SourceError> {
        Ok(vec![debian::list(&self.resolved.groups)])
    }

    fn stage(&self, staged: &mut Staged, context: &Context<'_>) -> Result<Contents, SourceError> {
        let Context { recipe, target, store, progress, .. } = context;
        let dropped = debian::stage(staged, recipe, &self.resolved.groups, target, store, progress)?;
        let files: Vec<_> = self.packages().filter_map(|package| package.stored(store)).collect();
        let mut contents = Contents { dropped, ..Contents::default() };
        if !files.is_empty() {
            contents
                .database
                .push(("var/lib/dpkg/status".to_owned(), debian::dpkg_status(&files)?.into_bytes()));
        }
        Ok(contents)
    }

    fn components(&self, context: &Context<'_>) -> Vec<Component> {
        let suite = context.target.base.map_or("unknown", |base| base.archive.suite.as_str());
        let component = |package: &Package| Component {
            name: package.name.clone(),
            version: package.version.clone(),
            ecosystem: Ecosystem::Debian,
            architecture: package.architecture.clone(),
            repository: suite.to_owned(),
            sha256: Some(package.sha256.clone()),
            license: None,
        };
        self.packages().map(component).collect()
    }

    fn inputs(&self, context: &Context<'_>) -> Result<Vec<Input>, SourceError> {
        let mut inputs: Vec<Input> = self
            .packages()
            .zip(self.components(context))
            .map(|(package, component)| Input {
                name: package.file_name(),
                uri: component.purl(),
                sha256: package.sha256.clone(),
            })
            .collect();
        if let Some(base) = context.target.base.filter(|_| !inputs.is_empty()) {
            let uri = format!("base:{}", base.archive.suite);
            inputs.push(Input { name: "base".to_owned(), uri, sha256: base.digest.clone() });
        }
        Ok(inputs)
    }

    fn requested(&self, context: &Context<'_>) -> Vec<RequestedPackage> {
        let names = context.recipe.debian.iter().flat_map(|section| &section.packages);
        let requested = |name: &String| {
            let package = self.packages().find(|package| package.name == *name);
            RequestedPackage { name: name.clone(), version: package.map(|package| package.version.clone()) }
        };
        names.map(|name| requested(name.get_ref())).collect()
    }

    fn explanation(&self) -> Explanation {
        self.resolved.explanation.clone()
    }

    fn providers(&self, library: &str, context: &Context<'_>) -> Vec<String> {
        let (base, store) = (context.target.base, context.store);
        debian::packages_of_library(library, context.recipe, base, store, context.progress)
    }
}
