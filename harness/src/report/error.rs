// SPDX-License-Identifier: Apache-2.0
use std::io;

use loadgauge_host::{FileError, Hint};

/// A report cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// standard output or standard error is closed
    #[error("cannot write to {stream}")]
    Stream {
        /// `standard output` or `standard error`
        stream: &'static str,
        /// the error of the operating system
        source: io::Error,
    },
    /// an event or a record cannot be written as JSON
    #[error("cannot serialise a report as JSON")]
    Json(#[from] serde_json::Error),
    /// the JUnit report cannot be written as XML
    #[error("cannot serialise the JUnit report as XML")]
    Xml(#[from] quick_junit::SerializeError),
    /// the task that writes the reports panicked
    #[error("the task that writes the reports panicked: {message}")]
    Panicked {
        /// the message of the panic
        message: String,
    },
}

impl Hint for ReportError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("run it again; the directory of the run was removed in the meantime".to_owned())
            }
            Self::File(error) => error.hint(),
            _ => None,
        }
    }
}
