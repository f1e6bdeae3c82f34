// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::{FileError, Hint};

use crate::archive::ArchiveError;
use crate::debian::{DebianError, DpkgStatusError};
use crate::gentoo::GentooError;
use crate::image::ImageError;
use crate::recipe::RecipeError;
use crate::stage::StageError;
use crate::tree::TreeError;

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// the recipe is wrong
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// Debian packages
    #[error(transparent)]
    Debian(Box<DebianError>),
    /// the package database of Debian packages
    #[error(transparent)]
    DpkgStatus(#[from] DpkgStatusError),
    /// Gentoo packages
    #[error(transparent)]
    Gentoo(Box<GentooError>),
    /// an archive
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// an existing extension
    #[error(transparent)]
    Image(#[from] ImageError),
    /// a tree
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// a file that does not fit into the extension
    #[error(transparent)]
    Stage(#[from] StageError),
    /// a file beside the recipe
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<DebianError> for SourceError {
    fn from(error: DebianError) -> Self {
        Self::Debian(Box::new(error))
    }
}

impl From<GentooError> for SourceError {
    fn from(error: GentooError) -> Self {
        Self::Gentoo(Box::new(error))
    }
}

impl SourceError {
    /// Whether the host or its network lacks something; otherwise the recipe is wrong.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Debian(error) => error.is_host(),
            Self::Gentoo(error) => error.is_host(),
            Self::Archive(error) => error.is_host(),
            Self::Image(error) => error.is_host(),
            Self::DpkgStatus(_) => true,
            Self::Recipe(_) | Self::Tree(_) | Self::Stage(_) | Self::File(_) => false,
        }
    }
}

impl Hint for SourceError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(error) => error.hint(),
            Self::Debian(error) => error.hint(),
            Self::DpkgStatus(error) => error.hint(),
            Self::Gentoo(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Tree(error) => error.hint(),
            Self::Stage(error) => error.hint(),
            Self::File(error) => error.hint(),
        }
    }
}
