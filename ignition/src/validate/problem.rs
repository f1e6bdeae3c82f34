// SPDX-License-Identifier: Apache-2.0
use std::{collections::HashSet, fmt::Display};

/// The severity of a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Ignition fails, or the guest differs from the config.
    Error,
    /// The setting has no effect.
    Warning,
}

/// A problem of a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {cause}")]
pub struct Problem {
    /// Its place in the config, such as `storage.files[3].mode`.
    pub path: String,
    /// The reason.
    pub cause: String,
    /// The way to correct it, where there is one.
    pub hint: Option<String>,
    /// Its severity.
    pub severity: Severity,
}

/// Collects problems.
#[derive(Default)]
pub(super) struct Findings(Vec<Problem>);

impl Findings {
    pub(super) fn error(&mut self, path: impl Display, cause: impl Display) {
        self.push(path, cause, None, Severity::Error);
    }

    pub(super) fn error_with_hint(&mut self, path: impl Display, cause: impl Display, hint: impl Display) {
        self.push(path, cause, Some(hint.to_string()), Severity::Error);
    }

    pub(super) fn warning(&mut self, path: impl Display, cause: impl Display, hint: impl Display) {
        self.push(path, cause, Some(hint.to_string()), Severity::Warning);
    }

    fn push(&mut self, path: impl Display, cause: impl Display, hint: Option<String>, severity: Severity) {
        self.0.push(Problem { path: path.to_string(), cause: cause.to_string(), hint, severity });
    }

    /// Adds a problem for each element that is in a list twice.
    pub(super) fn duplicates<'a>(&mut self, list: &str, keys: impl IntoIterator<Item = &'a str>) {
        let mut seen = HashSet::new();
        for (index, key) in keys.into_iter().enumerate() {
            if !seen.insert(key) {
                self.error(format_args!("{list}[{index}]"), format_args!("`{key}` is in the list twice"));
            }
        }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.0
    }
}
