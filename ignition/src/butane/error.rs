// SPDX-License-Identifier: Apache-2.0
//! Why a Butane config cannot be read.

use loadgauge_host::Hint;
use std::io;

use camino::Utf8PathBuf;

use loadgauge_host::suggest::nearest;

/// A Butane config that cannot be read, with the place in its text.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {cause}")]
pub struct ButaneError {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong there.
    #[source]
    pub cause: ButaneCause,
}

/// What is wrong with a Butane config.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ButaneCause {
    /// Not YAML, or a value of another kind than belongs there; in the parser's words.
    #[error("{0}")]
    Syntax(String),
    /// No `variant`, or another than Flatcar's.
    #[error("variant `{0}`, expected `flatcar`")]
    Variant(String),
    /// A version of the format that is not read.
    #[error("version `{0}` of variant `flatcar`, expected `1.0.0` or `1.1.0`")]
    Version(String),
    /// A key that the format does not have.
    #[error("`{key}` is not a key here, expected one of `{}`", known.join("`, `"))]
    UnknownKey {
        /// The key as it is written.
        key: String,
        /// The keys that can stand in its place.
        known: Vec<&'static str>,
    },
    /// A key that needs a later specification of Ignition than 3.3.0.
    #[error("`{0}` needs Ignition's specification 3.4.0, and configs are written as 3.3.0")]
    TooNew(&'static str),
    /// Keys of which one can be given only.
    #[error("`{0}` and `{1}` exclude each other")]
    Exclusive(&'static str, &'static str),
    /// A mode written without the leading zero that makes it octal.
    #[error("mode `{0}` is decimal, and would be {0:#06o}")]
    DecimalMode(i64),
    /// A local path that leads out of the directory to which it is relative.
    #[error("`{path}` leads out of `{files}`, from which local files are read")]
    Outside {
        /// The path as it is written.
        path: String,
        /// The directory from which local files are read.
        files: Utf8PathBuf,
    },
    /// A local file or directory that cannot be read.
    #[error("`{path}` cannot be read")]
    Local {
        /// The file's path.
        path: Utf8PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A local file that must be text, and is not.
    #[error("`{0}` is not text (UTF-8)")]
    NotText(Utf8PathBuf),
    /// Something in a tree that is neither a file, a directory nor a symbolic link.
    #[error("`{0}` is neither a file, a directory nor a symbolic link")]
    TreeEntry(Utf8PathBuf),
    /// Something in a tree that the config speaks of as well.
    #[error("`{0}` of the tree is also written elsewhere in the config")]
    TreeTwice(String),
    /// A mount unit cannot be made of a filesystem.
    #[error("`with_mount_unit` needs `{0}`")]
    MountUnit(&'static str),
}

impl Hint for ButaneError {
    fn hint(&self) -> Option<String> {
        match &self.cause {
            ButaneCause::Variant(variant) if variant == "fcos" || variant == "rhcos" => Some(
                "that is the variant of another system: write `variant: flatcar`, `version: 1.0.0`"
                    .to_owned(),
            ),
            ButaneCause::Variant(_) | ButaneCause::Version(_) => {
                Some("begin with `variant: flatcar` and `version: 1.0.0`".to_owned())
            }
            ButaneCause::UnknownKey { key, known } => {
                nearest(key, known.iter().copied()).map(|known| format!("did you mean `{known}`?"))
            }
            ButaneCause::TooNew(_) => Some("leave it out, or set it from a unit in the guest".to_owned()),
            ButaneCause::DecimalMode(mode) => Some(format!("write `0{mode}`")),
            ButaneCause::Outside { files, .. } => Some(format!("move the file below `{files}`")),
            ButaneCause::Local { path, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!("local paths are relative to the config's directory: is `{path}` there?"))
            }
            ButaneCause::NotText(_) => {
                Some("a unit is text; binary data belongs in `storage.files`".to_owned())
            }
            _ => None,
        }
    }
}
