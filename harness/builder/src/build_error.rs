// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::StoreError;

use super::Format;
use super::archive::ArchiveError;
use super::debian::DebianError;
use super::describe::DescribeError;
use super::elf::IndexError;
use super::gentoo::GentooError;
use super::image::ImageError;
use super::mangle::MangleError;
use super::pack::PackError;
use super::recipe_error::RecipeError;
use super::release_file::ReleaseError;
use super::stage::StageError;
use super::tree::TreeError;

/// What keeps an extension from being built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// the recipe is wrong
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// it was given a name that none can have
    #[error("{0}")]
    Name(String, &'static str),
    /// its extension-release file cannot be written for this image
    #[error("cannot say what `{recipe}` is compatible with")]
    Release {
        /// the recipe
        recipe: Utf8PathBuf,
        /// why not
        source: ReleaseError,
    },
    /// a tree cannot be taken in
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// packages cannot be taken in
    #[error(transparent)]
    Debian(#[from] DebianError),
    /// Gentoo packages cannot be taken in
    #[error(transparent)]
    Gentoo(Box<GentooError>),
    /// an archive cannot be taken in
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// an extension that was built before cannot be taken in
    #[error(transparent)]
    Image(#[from] ImageError),
    /// the recipe's script cannot be run
    #[error(transparent)]
    Mangle(#[from] MangleError),
    /// something does not fit into the tree
    #[error(transparent)]
    Stage(#[from] StageError),
    /// a source brought an extension-release file
    #[error("{origin} brings `/{path}`, and an extension has one such file only, which the builder writes")]
    SecondRelease {
        /// which
        path: Utf8PathBuf,
        /// what brought it
        origin: Arc<str>,
    },
    /// the finished tree cannot be used
    #[error("the extension cannot be used:\n{0}")]
    Unfit(String),
    /// programs or libraries in it are linked with something that is not there
    #[error("the extension's programs lack libraries:\n{0}")]
    Unlinked(String),
    /// the base's libraries cannot be read
    #[error(transparent)]
    Base(#[from] IndexError),
    /// `SOURCE_DATE_EPOCH` is not a time
    #[error("SOURCE_DATE_EPOCH is `{0}`, expected seconds since 1970")]
    Epoch(String),
    /// it cannot be packed
    #[error("cannot pack `{name}` as {format}")]
    Pack {
        /// the extension
        name: String,
        /// as what
        format: Format,
        /// why not
        source: PackError,
    },
    /// it cannot be described
    #[error("cannot describe `{name}`")]
    Describe {
        /// the extension
        name: String,
        /// why not
        source: DescribeError,
    },
    /// two builds of the same gave different bytes
    #[error("`{name}` as {format} is not reproducible: SHA-512 {first} at first, then {second}")]
    NotReproducible {
        /// the extension
        name: String,
        /// as what
        format: Format,
        /// of the kept build
        first: String,
        /// of the second
        second: String,
    },
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
}

impl From<GentooError> for BuildError {
    fn from(error: GentooError) -> Self {
        Self::Gentoo(Box::new(error))
    }
}

impl BuildError {
    /// Whether the host lacks something, rather than the recipe being wrong.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Debian(error) => error.is_host(),
            Self::Gentoo(error) => error.is_host(),
            Self::Archive(error) => error.is_host(),
            Self::Image(error) => error.is_host(),
            Self::Mangle(error) => error.is_host(),
            Self::Pack { .. } | Self::Describe { .. } | Self::Store(_) | Self::Base(_) => true,
            _ => false,
        }
    }

    pub(super) fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Hint for BuildError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(error) => error.hint(),
            Self::Name(_, hint) => Some((*hint).to_owned()),
            Self::Release { source, .. } => source.hint(),
            Self::Tree(error) => error.hint(),
            Self::Debian(error) => error.hint(),
            Self::Gentoo(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Mangle(error) => error.hint(),
            Self::Pack { source, .. } => source.hint(),
            Self::Describe { source, .. } => source.hint(),
            Self::SecondRelease { .. } => Some("say in [compatible] what it should say".to_owned()),
            Self::Unlinked(_) => Some(
                "take a package or file that brings them into the recipe; what can do without is named in [finish] missing-libraries".to_owned(),
            ),
            Self::Base(error) => error.hint(),
            Self::Unfit(_) => {
                Some("take it out with [finish] remove, or move it with [finish] move".to_owned())
            }
            _ => None,
        }
    }
}
