// SPDX-License-Identifier: Apache-2.0
use std::io;
use std::path::Path;

use camino::Utf8PathBuf;

use crate::Hint;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{path}`")]
pub struct FileError {
    /// the operation, as a verb
    pub action: &'static str,
    /// the file or directory
    pub path: Utf8PathBuf,
    /// the error of the operating system
    pub source: io::Error,
}

impl FileError {
    /// Turns an error of the operating system into one that names the operation and the file, for
    /// `map_err`.
    pub fn at(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = Utf8PathBuf::from(path.as_ref().to_string_lossy().into_owned());
        move |source| Self { action, path, source }
    }

    /// The kind of the operating system's error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl Hint for FileError {
    fn hint(&self) -> Option<String> {
        let path = &self.path;
        match self.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some(format!("free space on the file system of `{path}`"))
            }
            io::ErrorKind::PermissionDenied => Some(format!("check the owner and mode of `{path}`")),
            io::ErrorKind::ReadOnlyFilesystem => {
                Some(format!("`{path}` is on a read-only file system; choose another directory"))
            }
            io::ErrorKind::InvalidData if self.source.to_string().ends_with("is not UTF-8") => {
                Some("save the file as UTF-8".to_owned())
            }
            _ => None,
        }
    }
}
