// SPDX-License-Identifier: Apache-2.0
use std::io;

use loadgauge_host::{CommandError, FileError, Hint, MissingTool};

/// An error while extracting files of a file system.
#[derive(Debug, thiserror::Error)]
pub enum FileSystemError {
    /// the host lacks a program
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// a program failed
    #[error("cannot extract its files")]
    Command(#[from] CommandError),
    /// a program reported an error and exited with status 0
    #[error("cannot extract all of its files: {0}")]
    Incomplete(String),
    /// the image is damaged or uses a feature that is not supported
    #[error("cannot read the {kind} file system")]
    Read {
        /// the kind of the file system
        kind: &'static str,
        /// the reason
        source: io::Error,
    },
    /// a name leads out of its directory, or a directory contains it twice
    #[error("the directory `/{directory}` contains the name `{name}`, which {fault}")]
    Name {
        /// the directory inside the image, escaped
        directory: String,
        /// the name, escaped
        name: String,
        /// the rule that it breaks
        fault: NameFault,
    },
    /// the image is shorter than its superblock says
    #[error("it is cut off: it has {found} bytes, and its {kind} file system has {expected}")]
    Truncated {
        /// the kind of the file system
        kind: &'static str,
        /// the size of the image in bytes
        found: u64,
        /// the size in the superblock, in bytes
        expected: u64,
    },
    /// a directory is reachable by more than one path
    #[error("the directory `/{0}` has more than one parent")]
    Loop(String),
    /// directories are nested more deeply than in any real image
    #[error("the directory `/{path}` is nested more than {limit} levels deep")]
    Depth {
        /// the directory inside the image, escaped
        path: String,
        /// the limit
        limit: usize,
    },
    /// unsquashfs found names or tables that no packer writes
    #[error("unsquashfs refuses it: {0}")]
    Refused(String),
    /// a device node, which would give access to a device of the host
    #[error("`/{0}` is a device")]
    Device(String),
    /// the image has more entries or bytes than any real one
    #[error("it has more than {0}")]
    TooLarge(&'static str),
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
}

/// The rule that a name of a directory entry breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameFault {
    /// the name is `.` or `..`, or contains a slash
    LeadsOut,
    /// the name is empty
    Empty,
    /// the name contains a NUL byte
    Nul,
    /// another entry of the directory has the same name
    Duplicate,
}

impl std::fmt::Display for NameFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::LeadsOut => "leads out of the directory",
            Self::Empty => "is empty",
            Self::Nul => "contains a NUL byte",
            Self::Duplicate => "appears twice",
        })
    }
}

impl FileSystemError {
    /// Returns a conversion to [`Self::Read`], for `map_err`.
    pub(super) fn read(kind: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { kind, source }
    }

    /// Whether the cause is the host, not the image.
    pub fn is_host(&self) -> bool {
        matches!(
            self,
            Self::Missing(_)
                | Self::File(_)
                | Self::Command(CommandError::Start { .. } | CommandError::Confine { .. })
        )
    }

    /// Whether no guest can use the image: it was made to write outside of the directory that it is
    /// extracted to, or is cut off.
    pub fn is_hostile(&self) -> bool {
        matches!(
            self,
            Self::Truncated { .. }
                | Self::Name { .. }
                | Self::Loop(_)
                | Self::Depth { .. }
                | Self::Device(_)
                | Self::Refused(_)
                | Self::TooLarge(_)
        )
    }
}

impl Hint for FileSystemError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Command(CommandError::Failed { tail, .. }) if tail.contains("incompatible feature") => Some(
                "install a newer erofs-utils: the image uses a feature that this one lacks (zstd needs 1.8)"
                    .to_owned(),
            ),
            Self::Truncated { .. } => Some("copy or download the image again".to_owned()),
            _ if self.is_hostile() => {
                Some("do not use the image: no packer creates such entries by itself".to_owned())
            }
            _ => None,
        }
    }
}
