// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Hint;

use crate::pack::PackError;

/// What keeps an extension from being described.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
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
    /// a package does not say what dpkg would keep of it
    #[error("cannot read the control file of the package `{path}`: {what}")]
    Control {
        /// its file
        path: Utf8PathBuf,
        /// what is the matter
        what: String,
    },
    /// the package database cannot be packed
    #[error("cannot pack the package database")]
    Pack(#[from] PackError),
}

impl DescribeError {
    pub(super) fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Hint for DescribeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Pack(error) => error.hint(),
            _ => None,
        }
    }
}
