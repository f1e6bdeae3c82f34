// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::{CommandError, FileError, Hint, MissingTool};

use crate::signature::{SignatureError, SigningError};

/// A release directory that cannot be written or verified.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseDirectoryError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// the host lacks a program
    #[error(transparent)]
    Tool(#[from] MissingTool),
    /// a program failed
    #[error(transparent)]
    Command(#[from] CommandError),
    /// a signature cannot be made
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// the keys cannot be read
    #[error(transparent)]
    Keys(#[from] SignatureError),
    /// the directory contains nothing to verify
    #[error("`{0}` contains no file to verify")]
    Nothing(Utf8PathBuf),
}

impl Hint for ReleaseDirectoryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(missing) => missing.hint(),
            Self::File(error) => error.hint(),
            Self::Keys(error) => error.hint(),
            Self::Nothing(_) => Some(
                "name the directory with the image and with FILE.sig or FILE.DIGESTS.asc of each FILE"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
