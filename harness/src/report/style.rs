// SPDX-License-Identifier: Apache-2.0
use std::fmt::Display;

use owo_colors::{OwoColorize as _, Style};

use crate::check::Outcome;

/// Colours of the terminal report. They repeat the text and add no information.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Styles {
    passed: Style,
    warning: Style,
    bad: Style,
    /// for names
    pub(super) name: Style,
    /// for what matters less
    pub(super) dim: Style,
}

impl Styles {
    /// No colours.
    pub(super) fn plain() -> Self {
        let none = Style::new();
        Self { passed: none, warning: none, bad: none, name: none, dim: none }
    }

    /// The colours of a terminal.
    pub(super) fn colored() -> Self {
        Self {
            passed: Style::new().green(),
            warning: Style::new().yellow(),
            bad: Style::new().red().bold(),
            name: Style::new().bold(),
            dim: Style::new().dimmed(),
        }
    }

    /// The colours for standard error: whether it is a terminal, `NO_COLOR`, `CLICOLOR_FORCE` and `TERM`
    /// decide.
    pub(super) fn of_stderr() -> Self {
        match anstream::AutoStream::choice(&std::io::stderr()) {
            anstream::ColorChoice::Never => Self::plain(),
            _ => Self::colored(),
        }
    }

    /// The style of an outcome.
    pub(super) fn outcome(&self, outcome: Outcome) -> Style {
        match outcome {
            Outcome::Passed => self.passed,
            Outcome::Flaky | Outcome::Skipped => self.warning,
            Outcome::Failed | Outcome::Broken => self.bad,
        }
    }
}

/// The label of an outcome at the beginning of a line; what needs attention is in capitals.
pub(super) fn label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "ok",
        Outcome::Flaky => "FLAKY",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "skipped",
        Outcome::Broken => "BROKEN",
    }
}

/// Text in a style, padded outside of the escape sequences.
pub(super) fn padded(text: &str, width: usize, style: Style) -> String {
    let padding = width.saturating_sub(text.chars().count());
    format!("{}{:padding$}", paint(text, style), "")
}

/// Text in a style.
pub(super) fn paint(text: impl Display, style: Style) -> String {
    text.style(style).to_string()
}
