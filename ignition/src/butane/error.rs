// SPDX-License-Identifier: Apache-2.0
use std::io;

use camino::Utf8PathBuf;
use loadgauge_host::suggest::did_you_mean;
use loadgauge_host::{FileError, Hint};
use serde_saphyr::Location;

/// A Butane config that cannot be read, with the place in its text.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {cause}")]
pub struct ButaneError {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// The reason.
    #[source]
    pub cause: ButaneCause,
}

impl ButaneError {
    /// An error at a place in the text, or at its beginning where the place is unknown.
    pub(super) fn at(location: &Location, cause: impl Into<ButaneCause>) -> Self {
        Self { line: location.line().max(1), column: location.column().max(1), cause: cause.into() }
    }
}

/// The reason why a Butane config cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ButaneCause {
    /// The text is not YAML, or a value has the wrong type; the parser's message.
    #[error("{0}")]
    Syntax(String),
    /// The variant is missing, or is not Flatcar's.
    #[error("variant `{0}`, expected `flatcar`")]
    Variant(String),
    /// The version of the format is not supported.
    #[error("version `{0}` of variant `flatcar`, expected `1.0.0` or `1.1.0`")]
    Version(String),
    /// A key that the format does not have.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that are valid in its place.
        known: Vec<&'static str>,
    },
    /// A key that needs a later specification of Ignition than 3.3.0.
    #[error("`{0}` needs Ignition's specification 3.4.0, but configs are written as 3.3.0")]
    TooNew(&'static str),
    /// Keys that cannot be set together.
    #[error("`{0}` and `{1}` exclude each other")]
    Exclusive(&'static str, &'static str),
    /// A mode without the leading zero of octal numbers.
    #[error("mode `{0}` is a decimal number, {0:#06o} in octal")]
    DecimalMode(i64),
    /// A local path that leads out of its base directory.
    #[error("`{path}` leads out of `{files}`, the directory of local files")]
    Outside {
        /// The path.
        path: String,
        /// The directory of local files.
        files: Utf8PathBuf,
    },
    /// A local file or directory that cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A local file that must be text.
    #[error("`{0}` is not UTF-8")]
    NotText(Utf8PathBuf),
    /// A file in a tree of another type.
    #[error("`{0}` is neither a file, a directory nor a symbolic link")]
    TreeEntry(Utf8PathBuf),
    /// A file in a tree that the config writes as well.
    #[error("`{0}` of the tree is written elsewhere in the config too")]
    TreeTwice(String),
    /// A filesystem without a key that its mount unit needs.
    #[error("`with_mount_unit` needs `{0}`")]
    MountUnit(&'static str),
}

impl Hint for ButaneError {
    fn hint(&self) -> Option<String> {
        match &self.cause {
            ButaneCause::Variant(variant) if variant == "fcos" || variant == "rhcos" => Some(
                "write `variant: flatcar` and `version: 1.0.0`: this variant is for another system"
                    .to_owned(),
            ),
            ButaneCause::Variant(_) | ButaneCause::Version(_) => {
                Some("begin with `variant: flatcar` and `version: 1.0.0`".to_owned())
            }
            ButaneCause::UnknownKey { key, known } => did_you_mean(key, known.iter().copied()),
            ButaneCause::TooNew(_) => Some("remove it, or set it with a unit in the guest".to_owned()),
            ButaneCause::DecimalMode(mode) => Some(format!("write `0{mode}`")),
            ButaneCause::Outside { files, .. } => Some(format!("move the file below `{files}`")),
            ButaneCause::File(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("create the file, or correct the path, which is relative to the config".to_owned())
            }
            ButaneCause::File(error) => error.hint(),
            ButaneCause::NotText(_) => Some("move binary data to `storage.files`".to_owned()),
            _ => None,
        }
    }
}
