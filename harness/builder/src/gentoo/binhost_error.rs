// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::{FileError, Hint, StoreError};

use super::index::IndexError;
use crate::fetch::FetchError;

/// A binhost whose index or packages cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BinhostError {
    /// a file cannot be fetched
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// a file cannot be read or written
    #[error(transparent)]
    File(#[from] FileError),
    /// the index is invalid
    #[error("cannot read the index of the binhost `{binhost}`")]
    Index {
        /// directory or URL of the binhost
        binhost: String,
        /// what is wrong
        source: IndexError,
    },
    /// a path in the index leads out of the binhost
    #[error("cannot use the package file `{0}`: its path in the index is not inside the binhost")]
    Path(String),
    /// a package file differs from the index
    #[error("`{path}` has the {property} {found}, expected {expected} as in the index of the binhost")]
    Changed {
        /// path relative to the binhost
        path: String,
        /// what differs: `size` or `SHA-1`
        property: &'static str,
        /// the value in the index
        expected: String,
        /// the actual value
        found: String,
    },
    /// the index has no digest of a package file
    #[error("cannot verify `{0}`: the index of the binhost has no SHA-1 of it")]
    NoDigest(String),
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BinhostError {
    /// Whether the cause is the host or its network, not the recipe.
    pub fn is_host(&self) -> bool {
        match self {
            Self::Fetch(error) => !error.is_absent(),
            Self::File(_) | Self::Store(_) => true,
            _ => false,
        }
    }
}

impl Hint for BinhostError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Fetch(error) => error.hint(),
            Self::Changed { .. } => {
                Some("run `emaint --fix binhost` to update the index of the binhost".to_owned())
            }
            Self::File(_) => Some(
                "use a directory with binary packages and their index, `Packages`, as binhost".to_owned(),
            ),
            _ => None,
        }
    }
}
