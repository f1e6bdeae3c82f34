// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

/// A report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// the terminal is gone
    #[error("cannot write to standard error")]
    Terminal {
        /// why not
        source: io::Error,
    },
    /// an event or a record has no JSON
    #[error("cannot write JSON for `{path}`")]
    Json {
        /// the file it was meant for
        path: Utf8PathBuf,
        /// why not
        source: serde_json::Error,
    },
    /// a report has no XML
    #[error("cannot write XML for `{path}`")]
    Xml {
        /// the file it was meant for
        path: Utf8PathBuf,
        /// why not
        source: quick_junit::SerializeError,
    },
    /// the task that writes the reports died
    #[error("the writer of the reports panicked: {message}")]
    Panicked {
        /// what it said
        message: String,
    },
}

impl ReportError {
    /// Makes an error of a file operation.
    pub(super) fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// The error with its causes on one line.
    pub(super) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl Hint for ReportError {
    fn hint(&self) -> Option<String> {
        let Self::Io { path, source, .. } = self else { return None };
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some(format!("make room on the file system of `{path}`"))
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some("choose another directory for the run".to_owned())
            }
            io::ErrorKind::NotFound => {
                Some("the run's directory was removed while the run went on; run it again".to_owned())
            }
            _ => None,
        }
    }
}
