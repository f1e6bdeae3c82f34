// SPDX-License-Identifier: Apache-2.0
use std::error::Error;

use loadgauge_host::Hint;
use loadgauge_host::error::on_lines;

use super::Exit;
use crate::report::log;

/// The reason why a command ended early: an exit status, a message and a hint.
#[derive(Debug)]
pub(super) struct Failure {
    /// the status of the process
    pub(super) exit: Exit,
    /// the error with its causes, a line each
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with a message of its own.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The same failure with a hint.
    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same failure as the cause of another message.
    pub(super) fn within(self, message: &str) -> Self {
        Self { message: format!("{message}\n  {}", self.message.replace('\n', "\n  ")), ..self }
    }

    /// A failure with the message and the hint of an error.
    pub(super) fn of(exit: Exit, error: &(impl Error + Hint)) -> Self {
        Self { exit, message: on_lines(error), hint: error.hint() }
    }

    /// A failure of the operating system or of the harness itself, for `map_err`.
    pub(super) fn internal(error: impl Error) -> Self {
        Self::new(Exit::Internal, on_lines(&error))
    }

    /// Several failures as one, with the exit status and the hint of the first.
    pub(super) fn merge(failures: impl IntoIterator<Item = Self>) -> Option<Self> {
        failures
            .into_iter()
            .reduce(|first, next| Self { message: format!("{}\n{}", first.message, next.message), ..first })
    }

    /// Writes the message and the hint to standard error, if that can be written.
    pub(super) fn print(&self) {
        log(&format!("error: {}", self.message));
        if let Some(hint) = &self.hint {
            log(&format!("hint: {}", hint.replace('\n', "\n  ")));
        }
    }
}
