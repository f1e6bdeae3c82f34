// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::{FileError, Hint};

use crate::pack::PackError;
use crate::stage::StageError;

/// An extension that cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// the package database cannot be staged
    #[error("cannot stage the package database")]
    Stage(#[from] StageError),
    /// the package database cannot be packed
    #[error("cannot pack the package database")]
    Pack(#[from] PackError),
}

impl Hint for DescribeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Stage(error) => error.hint(),
            Self::Pack(error) => error.hint(),
        }
    }
}
