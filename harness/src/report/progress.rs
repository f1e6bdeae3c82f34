// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::text::one_line;

/// How long a wait goes on before it is worth a line of its own, in microseconds.
const FIRST_WORD: u64 = 10_000_000;
/// How long until the next such line.
const NEXT_WORD: u64 = 60_000_000;

/// What the scenarios wait for.
pub(super) enum Progress {
    /// a spinner per scenario below the lines
    Spinners { screen: MultiProgress, bars: BTreeMap<String, ProgressBar> },
    /// a line for each wait that takes long
    Lines { waits: BTreeMap<String, Wait> },
}

/// A wait that is told in lines.
pub(super) struct Wait {
    what: String,
    since_us: u64,
    next_us: u64,
}

/// Whether standard error can show something that moves.
pub(super) fn stderr_is_interactive() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !dumb && !no_color
}

impl Progress {
    pub(super) fn new(interactive: bool) -> Self {
        if interactive {
            Self::Spinners { screen: MultiProgress::new(), bars: BTreeMap::new() }
        } else {
            Self::Lines { waits: BTreeMap::new() }
        }
    }

    /// A scenario begins to wait.
    pub(super) fn wait(&mut self, scenario: &str, what: &str, now_us: u64) {
        let what = one_line(what);
        match self {
            Self::Spinners { screen, bars } => {
                let bar = bars.entry(scenario.to_owned()).or_insert_with(|| {
                    let bar = screen.add(ProgressBar::new_spinner().with_style(spinner_style()));
                    bar.enable_steady_tick(Duration::from_millis(120));
                    bar
                });
                bar.reset_elapsed();
                bar.set_message(format!("{scenario}: waiting for {what}"));
            }
            Self::Lines { waits } => {
                let wait = Wait { what, since_us: now_us, next_us: now_us.saturating_add(FIRST_WORD) };
                waits.insert(scenario.to_owned(), wait);
            }
        }
    }

    /// A scenario has what it waited for.
    pub(super) fn arrived(&mut self, scenario: &str) {
        match self {
            Self::Spinners { bars, .. } => {
                if let Some(bar) = bars.remove(scenario) {
                    bar.finish_and_clear();
                }
            }
            Self::Lines { waits } => {
                waits.remove(scenario);
            }
        }
    }

    /// The waits that are worth a line by now: scenario, what for, and for how long in milliseconds.
    pub(super) fn due(&mut self, now_us: u64) -> Vec<(String, String, u64)> {
        let Self::Lines { waits } = self else { return Vec::new() };
        let mut due = Vec::new();
        for (scenario, wait) in waits.iter_mut().filter(|(_, wait)| now_us >= wait.next_us) {
            wait.next_us = now_us.saturating_add(NEXT_WORD);
            due.push((scenario.clone(), wait.what.clone(), (now_us - wait.since_us) / 1000));
        }
        due
    }

    /// Does something with the spinners out of the way.
    pub(super) fn suspend<R>(&self, action: impl FnOnce() -> R) -> R {
        match self {
            Self::Spinners { screen, .. } => screen.suspend(action),
            Self::Lines { .. } => action(),
        }
    }
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("  {spinner} {elapsed:>4}  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
