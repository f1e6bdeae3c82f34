// SPDX-License-Identifier: Apache-2.0
//! What validation finds.

use std::{collections::HashSet, fmt::Display};

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Ignition refuses it, or the guest becomes something other than what the config says.
    Error,
    /// What the config says here has no effect.
    Warning,
}

/// Something that is wrong with a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {cause}")]
pub struct Problem {
    /// Where it stands in the config, such as `storage.files[3].mode`.
    pub path: String,
    /// What is wrong there.
    pub cause: String,
    /// What to do about it, if that can be said.
    pub hint: Option<String>,
    /// How bad it is.
    pub severity: Severity,
}

/// Problems as they are found.
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

    /// Each element of a list must stand there once.
    pub(super) fn duplicates<'a>(&mut self, list: &str, keys: impl IntoIterator<Item = &'a str>) {
        let mut seen = HashSet::new();
        for (index, key) in keys.into_iter().enumerate() {
            if !seen.insert(key) {
                self.error(format_args!("{list}[{index}]"), format_args!("`{key}` is there twice"));
            }
        }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.0
    }
}
