// SPDX-License-Identifier: Apache-2.0
use std::fmt::Display;

use owo_colors::{OwoColorize as _, Style};

use crate::check::Outcome;

/// Colours of the terminal report. They repeat what words say, and never say more.
#[derive(Debug, Clone, Copy)]
pub struct Styles {
    passed: Style,
    warning: Style,
    bad: Style,
    /// of names
    pub(super) name: Style,
    /// of what matters less
    pub(super) dim: Style,
}

impl Styles {
    /// No colours.
    pub fn plain() -> Self {
        let none = Style::new();
        Self { passed: none, warning: none, bad: none, name: none, dim: none }
    }

    /// The colours of a terminal.
    pub fn colored() -> Self {
        Self {
            passed: Style::new().green(),
            warning: Style::new().yellow(),
            bad: Style::new().red().bold(),
            name: Style::new().bold(),
            dim: Style::new().dimmed(),
        }
    }

    /// What standard error takes: `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and whether it is a terminal
    /// decide.
    pub fn of_stderr() -> Self {
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

/// The word for an outcome at the head of a line; what needs attention is in capitals.
pub(super) fn word(outcome: Outcome) -> &'static str {
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
