// SPDX-License-Identifier: Apache-2.0
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use loadgauge_host::{CommandError, FileError, Hint, MissingTool};

/// An error while extracting files of a file system.
#[derive(Debug, thiserror::Error)]
pub enum FileSystemError {
    /// the host lacks a program
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// a program failed
    #[error("cannot extract its files")]
    Command(#[source] CommandError),
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
    /// a directory is reachable by more than one path
    #[error("the directory `/{0}` has more than one parent, or is nested too deeply")]
    Loop(String),
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

impl From<CommandError> for FileSystemError {
    fn from(error: CommandError) -> Self {
        match &error {
            CommandError::Failed { status, .. } if is_size_limit(*status) => {
                Self::TooLarge("2 GiB in one file")
            }
            _ => Self::Command(error),
        }
    }
}

/// Whether a program ended because a file exceeded its limit: timeout(1) turns a signal into a status.
fn is_size_limit(status: ExitStatus) -> bool {
    const SIGXFSZ: i32 = 25;
    status.signal() == Some(SIGXFSZ) || status.code() == Some(128 + SIGXFSZ)
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
    /// the name contains a line break, so the listing is ambiguous
    LineBreak,
}

impl std::fmt::Display for NameFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::LeadsOut => "leads out of the directory",
            Self::Empty => "is empty",
            Self::Nul => "contains a NUL byte",
            Self::Duplicate => "appears twice",
            Self::LineBreak => "contains a line break",
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

    /// Whether the image was made to write outside of the directory that it is extracted to.
    pub fn is_hostile(&self) -> bool {
        matches!(
            self,
            Self::Name { .. } | Self::Loop(_) | Self::Device(_) | Self::Refused(_) | Self::TooLarge(_)
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
            Self::TooLarge(_) => Some(
                "make the image without such files: extraction is limited to 2 GiB in one file and 16 GiB in all"
                    .to_owned(),
            ),
            Self::Name { fault: NameFault::LineBreak, .. } => Some("rename the file".to_owned()),
            _ if self.is_hostile() => {
                Some("do not use the image: no packer creates such entries by itself".to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_program_at_the_size_limit_is_recognised() {
        let failed = |raw: i32| {
            let (command, tail) = ("unsquashfs x".to_owned(), String::new());
            FileSystemError::from(CommandError::Failed { command, status: ExitStatus::from_raw(raw), tail })
        };
        for raw in [25, 25 + 128, (128 + 25) << 8] {
            let error = failed(raw);
            assert_eq!(error.to_string(), "it has more than 2 GiB in one file");
            assert!(error.hint().is_some_and(|hint| hint.contains("2 GiB")));
        }
        assert!(matches!(failed(1 << 8), FileSystemError::Command(_)));
    }
}
