// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use camino::Utf8PathBuf;
use serde::Serialize;

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// it may be intended, or depends on what the image does not say
    Warning,
    /// the guest does not merge the extension, or merging it breaks the guest
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A fault of an extension, or a doubt about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// the name of the rule
    pub rule: &'static str,
    /// how bad it is
    pub severity: Severity,
    /// the file, relative to the root; empty for the whole extension
    pub path: Utf8PathBuf,
    /// a predicate about the file: what was found, and what follows
    pub message: String,
    /// what to do about it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A finding before its rule is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    severity: Severity,
    path: Utf8PathBuf,
    message: String,
    hint: Option<String>,
}

impl Fault {
    pub(super) fn error(path: impl Into<Utf8PathBuf>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, path: path.into(), message: message.into(), hint: None }
    }

    pub(super) fn warning(path: impl Into<Utf8PathBuf>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, path: path.into(), message: message.into(), hint: None }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn of_rule(self, rule: &'static str) -> Finding {
        let Self { severity, path, message, hint } = self;
        Finding { rule, severity, path, message, hint }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = if self.path.as_str().is_empty() { "the extension" } else { "/" };
        // The name comes from the image.
        write!(formatter, "{subject}{} {}", self.path.as_str().escape_debug(), self.message)?;
        match &self.hint {
            Some(hint) => write!(formatter, " (hint: {hint}) [{}]", self.rule),
            None => write!(formatter, " [{}]", self.rule),
        }
    }
}
