// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use camino::Utf8PathBuf;

/// The place where a scenario asks for something. Its text begins an error message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// a scenario file
    File {
        /// the file, as the user would name it
        path: Utf8PathBuf,
        /// 1-based line; absent where the whole file is meant
        line: Option<usize>,
    },
    /// the arguments of a command, which the user has before him
    Arguments,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(formatter, "{path}:{line}: "),
            Self::File { path, line: None } => write!(formatter, "{path}: "),
            Self::Arguments => Ok(()),
        }
    }
}
