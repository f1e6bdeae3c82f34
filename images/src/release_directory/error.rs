// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::signature::{SignatureError, SigningError};
use loadgauge_host::{CommandError, MissingTool};

/// A release directory cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseDirectoryError {
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
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
    /// there is nothing to verify
    #[error("`{0}` holds no file with a signature or a list of digests")]
    Nothing(Utf8PathBuf),
}

impl Hint for ReleaseDirectoryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Tool(missing) => missing.hint(),
            Self::Keys(error) => error.hint(),
            Self::Nothing(_) => Some(
                "each FILE of a release has FILE.sig and FILE.DIGESTS.asc beside it on the server".to_owned(),
            ),
            _ => None,
        }
    }
}

/// Makes an error of a file operation, for `map_err`.
pub(super) fn io(
    action: &'static str,
    path: &Utf8Path,
) -> impl FnOnce(io::Error) -> ReleaseDirectoryError + use<> {
    let path = path.to_owned();
    move |source| ReleaseDirectoryError::Io { action, path, source }
}
