// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use camino::Utf8PathBuf;

/// A fault of an extension, or a doubt about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// whether the extension cannot work
    pub fatal: bool,
    /// the file, relative to the root
    pub path: Utf8PathBuf,
    /// a predicate about the file
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{} {}", self.path, self.message)
    }
}
