// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use camino::Utf8PathBuf;
use loadgauge_host::{FileError, Hint, StoreError};

use super::describe::DescribeError;
use super::elf::IndexError;
use super::extension::Format;
use super::mangle::MangleError;
use super::pack::PackError;
use super::recipe::RecipeError;
use super::release_file::ReleaseError;
use super::source::SourceError;
use super::stage::StageError;

/// An extension that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// the recipe is wrong
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// the extension was given a name that is not valid, with a hint
    #[error("{0}")]
    Name(String, &'static str),
    /// the extension-release file cannot be written for the image
    #[error("cannot write the extension-release of `{recipe}` for this image")]
    Release {
        /// the recipe
        recipe: Utf8PathBuf,
        /// the reason
        source: ReleaseError,
    },
    /// a source cannot be used
    #[error(transparent)]
    Source(#[from] SourceError),
    /// the recipe's script failed
    #[error(transparent)]
    Mangle(#[from] MangleError),
    /// a file does not fit into the tree
    #[error(transparent)]
    Stage(#[from] StageError),
    /// a source contains an extension-release file
    #[error("{origin} contains `/{path}`, but the builder writes the only extension-release file")]
    SecondRelease {
        /// the file
        path: Utf8PathBuf,
        /// the source that contains it
        origin: Arc<str>,
    },
    /// the tree breaks a rule
    #[error("the extension would not work:\n{0}")]
    Unfit(String),
    /// programs or libraries are linked with libraries that do not exist
    #[error("the programs of the extension lack libraries:\n{0}")]
    Unlinked(String),
    /// the base's libraries cannot be read
    #[error(transparent)]
    Base(#[from] IndexError),
    /// `SOURCE_DATE_EPOCH` is not a time
    #[error("SOURCE_DATE_EPOCH is `{0}`, expected seconds since 1970")]
    Epoch(String),
    /// packing failed
    #[error("cannot pack `{name}` as {format}")]
    Pack {
        /// the extension
        name: String,
        /// the format
        format: Format,
        /// the reason
        source: PackError,
    },
    /// the files about the extension cannot be written
    #[error("cannot describe `{name}`")]
    Describe {
        /// the extension
        name: String,
        /// the reason
        source: DescribeError,
    },
    /// two builds of the same inputs have different bytes
    #[error(
        "`{name}` as {format} is not reproducible: the first build has SHA-512 {first}, the second {second}"
    )]
    NotReproducible {
        /// the extension
        name: String,
        /// the format
        format: Format,
        /// the digest of the kept build
        first: String,
        /// the digest of the second build
        second: String,
    },
    /// the store cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
}

impl BuildError {
    /// Whether the host lacks something; otherwise the recipe is wrong.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Source(error) => error.is_host(),
            Self::Mangle(error) => error.is_host(),
            Self::Pack { .. } | Self::Describe { .. } | Self::Store(_) | Self::Base(_) => true,
            _ => false,
        }
    }
}

impl Hint for BuildError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(error) => error.hint(),
            Self::Name(_, hint) => Some((*hint).to_owned()),
            Self::Release { source, .. } => source.hint(),
            Self::Source(error) => error.hint(),
            Self::Mangle(error) => error.hint(),
            Self::Stage(error) => error.hint(),
            Self::Pack { source, .. } => source.hint(),
            Self::Describe { source, .. } => source.hint(),
            Self::Base(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::SecondRelease { .. } => {
                Some("exclude the file, and set its fields in [compatible]".to_owned())
            }
            Self::Unlinked(text) if text.contains("libc.so.6") || text.contains("GLIBC_") => Some(
                "take a build that was linked with a C library as old as the image's, or a static one: the C \
                 library of the image cannot be replaced"
                    .to_owned(),
            ),
            Self::Unlinked(_) => Some(
                "add a package or file that contains them; list libraries that may be missing in [finish] \
                 allow-missing-libraries"
                    .to_owned(),
            ),
            Self::Unfit(_) => {
                Some("remove the files with [finish] remove, or move them with [finish] move".to_owned())
            }
            Self::Epoch(_) => {
                Some("set SOURCE_DATE_EPOCH to a number such as 1704067200, or unset it".to_owned())
            }
            Self::Store(_) | Self::NotReproducible { .. } => None,
        }
    }
}
