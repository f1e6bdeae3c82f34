// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use loadgauge_host::Store;

use super::error::SourceError;
use crate::describe::{Component, Input};
use crate::explain::Explanation;
use crate::recipe::Recipe;
use crate::stage::Staged;
use crate::target::Target;

/// Files of an extension: packages, archives, images, trees.
///
/// A source is first resolved against the base. After that nothing it does depends on the network, save
/// for the download of files whose digests are part of its key.
pub(crate) trait Source {
    /// Finds the packages that the source adds to the base.
    ///
    /// # Errors
    /// The packages cannot be found, or do not fit the base.
    fn resolve(&mut self, context: &Context<'_>) -> Result<(), SourceError> {
        let _ = context;
        Ok(())
    }

    /// Everything besides the recipe's text that decides the files. Of a source that was not resolved,
    /// that is the files beside the recipe alone.
    ///
    /// # Errors
    /// A file cannot be read.
    fn key(&self, context: &Context<'_>) -> Result<Vec<String>, SourceError>;

    /// Adds the files to the tree.
    ///
    /// # Errors
    /// See [`SourceError`].
    fn stage(&self, staged: &mut Staged, context: &Context<'_>) -> Result<Contents, SourceError>;

    /// The packages that the source adds.
    fn components(&self, context: &Context<'_>) -> Vec<Component> {
        let _ = context;
        Vec::new()
    }

    /// The files that the source reads, for the provenance statement.
    ///
    /// # Errors
    /// A file cannot be read.
    fn inputs(&self, context: &Context<'_>) -> Result<Vec<Input>, SourceError>;

    /// The packages that the recipe asks for by name.
    fn requested(&self, context: &Context<'_>) -> Vec<RequestedPackage> {
        let _ = context;
        Vec::new()
    }

    /// Why each package is added, and which ones the base has.
    fn explanation(&self) -> Explanation {
        Explanation::default()
    }

    /// Warnings of the resolution.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The names of packages that probably contain a library.
    fn providers(&self, library: &str, context: &Context<'_>) -> Vec<String> {
        let _ = (library, context);
        Vec::new()
    }
}

/// What all sources of a build have in common.
pub(crate) struct Context<'a> {
    /// the recipe of the extension
    pub(crate) recipe: &'a Recipe,
    /// the recipes that count as part of the base, each after those that it needs itself
    pub(crate) base_extensions: &'a [Recipe],
    /// the image that the extension is built for
    pub(crate) target: &'a Target<'a>,
    /// the store of downloads and resolutions
    pub(crate) store: &'a Store,
    /// whether only an explanation is wanted, for which no package file is fetched
    pub(crate) explains: bool,
    /// receives a short text for every step
    pub(crate) progress: &'a dyn Fn(&str),
}

impl<'a> Context<'a> {
    /// The base extensions and the recipe itself, in the order in which they are resolved.
    pub(crate) fn recipes(&self) -> Vec<&'a Recipe> {
        self.base_extensions.iter().chain([self.recipe]).collect()
    }
}

/// A package that the recipe asks for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestedPackage {
    /// its name, with the category where the ecosystem has categories
    pub(crate) name: String,
    /// the version that is added, or `None` where the base has the package
    pub(crate) version: Option<String>,
}

/// What a source has added to the tree.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// files and links outside /usr and /opt, which were left out
    pub(crate) dropped: Vec<Utf8PathBuf>,
    /// directories whose opaque markers were left out
    pub(crate) opaque: Vec<Utf8PathBuf>,
    /// the package database of the added packages: files by paths relative to the root
    pub(crate) database: Vec<(String, Vec<u8>)>,
    /// what packages say about themselves, by their names
    pub(crate) about: BTreeMap<String, AboutPackage>,
}

/// What a package says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AboutPackage {
    /// the websites of its project, separated by blanks
    pub(crate) homepage: Option<String>,
    /// the name of an extension of this package alone
    pub(crate) display_name: Option<String>,
}

impl Contents {
    /// Adds the contents of a further source.
    pub(crate) fn extend(&mut self, other: Self) {
        self.dropped.extend(other.dropped);
        self.opaque.extend(other.opaque);
        self.database.extend(other.database);
        self.about.extend(other.about);
    }
}
