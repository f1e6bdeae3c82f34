// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::{FileError, Hint};
use loadgauge_images::extension_image::ExtensionImageError;
use loadgauge_images::file_system::FileSystemError;

use crate::fetch::FetchError;
use crate::foreign_file::ForeignFile;
use crate::member::NameError;
use crate::recipe::RecipeError;
use crate::stage::StageError;

/// An existing image that cannot become part of an extension.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// the section of the recipe is wrong
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// it cannot be fetched
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// it is not an image of an extension
    #[error("`{image}` is not an image of an extension")]
    Open {
        /// its file name
        image: String,
        /// the format that it has instead, if it is a known one
        found: Option<ForeignFile>,
        /// the reason
        source: Box<ExtensionImageError>,
    },
    /// its files cannot be extracted
    #[error("cannot extract `{image}`")]
    Extract {
        /// its file name
        image: String,
        /// the reason
        source: FileSystemError,
    },
    /// it contains a name that an extension must not contain
    #[error("`{image}` contains a name that an extension must not contain")]
    Name {
        /// its file name
        image: String,
        /// the name
        source: NameError,
    },
    /// it contains a file with an attribute that no format preserves
    #[error("`{image}` contains `/{path}`, which is {attribute}")]
    Attribute {
        /// its file name
        image: String,
        /// the path inside
        path: Utf8PathBuf,
        /// a description of the attribute
        attribute: String,
    },
    /// it contains a whiteout
    #[error("`{image}` contains `/{path}`, which is a whiteout of an overlay")]
    Whiteout {
        /// its file name
        image: String,
        /// the path inside
        path: Utf8PathBuf,
    },
    /// it contains a FIFO, a socket or a device
    #[error("`{image}` contains `/{path}`, which is neither a file, a directory nor a link")]
    Special {
        /// its file name
        image: String,
        /// the path inside
        path: Utf8PathBuf,
    },
    /// it contradicts what is staged already
    #[error(transparent)]
    Stage(#[from] StageError),
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
}

impl ImageError {
    /// Whether the host or its network lacks something, rather than the recipe being wrong.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_host(),
            Self::Open { source, .. } => source.is_host(),
            Self::Extract { source, .. } => source.is_host(),
            Self::File(_) => true,
            _ => false,
        }
    }

    /// Whether the image was made to write outside of the directory that it is extracted to.
    pub fn is_hostile(&self) -> bool {
        match self {
            Self::Open { source, .. } => source.is_hostile(),
            Self::Extract { source, .. } => source.is_hostile(),
            _ => false,
        }
    }
}

impl Hint for ImageError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::Open { source, found, .. } => match found {
                Some(other) => Some(other.hint.to_owned()),
                None => source.hint(),
            },
            Self::Extract { source, .. } => source.hint(),
            Self::File(error) => error.hint(),
            Self::Attribute { .. } => Some(
                "leave the file out with `exclude`, or deliver the image as it is; a unit can grant capabilities, too"
                    .to_owned(),
            ),
            Self::Whiteout { .. } => {
                Some("leave it out with `exclude`: it hides a file of the base, which an extension must not".to_owned())
            }
            Self::Name { .. } | Self::Special { .. } | Self::Stage(_) => None,
        }
    }
}
