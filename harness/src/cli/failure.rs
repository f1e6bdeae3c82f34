// SPDX-License-Identifier: Apache-2.0
use std::error::Error;
use std::fmt::Write as _;

use super::Exit;

/// Why a command could not do what it was asked: an exit status, what went wrong with all its
/// causes, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// the status to leave with
    pub exit: Exit,
    /// the error and its causes, outermost first
    pub message: String,
    /// what to do
    pub hint: Option<String>,
}

impl Failure {
    /// A failure from an error, with its chain of causes written out.
    pub fn new(exit: Exit, error: &dyn Error, hint: Option<String>) -> Self {
        Self { exit, message: chain(error), hint }
    }

    /// A failure in words.
    pub fn words(exit: Exit, message: impl Into<String>, hint: Option<&str>) -> Self {
        Self { exit, message: message.into(), hint: hint.map(str::to_owned) }
    }

    /// Writes it to standard error.
    pub fn print(&self) {
        anstream::eprintln!("error: {}", self.message);
        if let Some(hint) = &self.hint {
            anstream::eprintln!("hint: {}", indent(hint));
        }
    }
}

/// An error with all its causes, a line each.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(message, "\n  because: {}", indent(&cause.to_string()));
        source = cause.source();
    }
    message
}

/// Keeps the lines of a longer text together under its first.
fn indent(text: &str) -> String {
    text.replace('\n', "\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `{path}`")]
    struct Outer {
        path: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn every_cause_is_told() {
        let source = std::io::Error::from_raw_os_error(2);
        let failure = Failure::new(Exit::Host, &Outer { path: "/x", source }, None);
        assert_eq!(failure.message, "cannot read `/x`\n  because: No such file or directory (os error 2)");
    }
}
