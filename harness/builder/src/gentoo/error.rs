// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::Hint;

use super::base::BaseError;
use super::binary::BinaryError;
use super::binhost_error::BinhostError;
use crate::owned_files::CollisionError;
use crate::recipe::RecipeError;
use crate::unpack::UnpackError;

/// Gentoo packages that cannot be added to an extension.
#[derive(Debug, thiserror::Error)]
pub enum GentooError {
    /// the image has no Portage database
    #[error("cannot resolve the Gentoo packages of `{0}`: the image has no Portage database")]
    NoBase(String),
    /// the recipe or one of its base extensions is invalid
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// the packages of the base cannot be read
    #[error(transparent)]
    Base(#[from] BaseError),
    /// the binhost cannot be used
    #[error(transparent)]
    Binhost(#[from] BinhostError),
    /// a package file cannot be read
    #[error("cannot open the package `{path}`")]
    Binary {
        /// the package file
        path: Utf8PathBuf,
        /// what is wrong with it
        source: Box<BinaryError>,
    },
    /// a package file contains another package than the index says
    #[error("`{path}` contains the package `{found}`, expected `{expected}` as in the index of the binhost")]
    WrongPackage {
        /// the package file
        path: Utf8PathBuf,
        /// the package in the index
        expected: String,
        /// the package in the file
        found: String,
    },
    /// a package file cannot be unpacked
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// packages contain files of packages in the base
    #[error(transparent)]
    Collision(#[from] CollisionError),
}

impl GentooError {
    /// Whether the cause is the host or its network, not the recipe.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Base(error) => error.is_host(),
            Self::Binhost(error) => error.is_host(),
            _ => false,
        }
    }
}

impl Hint for GentooError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoBase(_) => Some(
                "download `flatcar_production_image_sysext.squashfs` of the release into the directory of the image"
                    .to_owned(),
            ),
            Self::Recipe(error) => error.hint(),
            Self::Base(error) => error.hint(),
            Self::Binhost(error) => error.hint(),
            Self::Collision(error) => error.hint(),
            _ => None,
        }
    }
}
