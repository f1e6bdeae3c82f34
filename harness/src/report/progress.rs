// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use loadgauge_host::environment;

use super::text::one_line;
use crate::runner::ScenarioId;

/// Length of a wait before it is reported in a line of its own, in microseconds.
const FIRST_LINE: u64 = 10_000_000;
/// Interval until the next such line, in microseconds.
const NEXT_LINE: u64 = 60_000_000;

/// Shows what the scenarios wait for.
pub(super) enum Progress {
    /// a spinner per scenario below the lines
    Spinners { screen: MultiProgress, bars: BTreeMap<ScenarioId, ProgressBar> },
    /// a line for each long wait
    Log { waits: BTreeMap<ScenarioId, Wait> },
}

/// A wait that is reported in lines.
pub(super) struct Wait {
    what: String,
    since_us: u64,
    next_us: u64,
}

/// Whether standard error can show spinners.
pub(super) fn stderr_is_interactive() -> bool {
    let is_dumb = environment::value(environment::TERM).is_none_or(|term| term == "dumb");
    let no_color = environment::value(environment::NO_COLOR).is_some();
    io::stderr().is_terminal() && !is_dumb && !no_color
}

impl Progress {
    pub(super) fn new(interactive: bool) -> Self {
        if interactive {
            Self::Spinners { screen: MultiProgress::new(), bars: BTreeMap::new() }
        } else {
            Self::Log { waits: BTreeMap::new() }
        }
    }

    /// Begins a wait of a scenario.
    pub(super) fn start_wait(&mut self, scenario: &ScenarioId, what: &str, now_us: u64) {
        let what = one_line(what);
        match self {
            Self::Spinners { screen, bars } => {
                let bar = bars.entry(scenario.clone()).or_insert_with(|| {
                    let bar = screen.add(ProgressBar::new_spinner().with_style(spinner_style()));
                    bar.enable_steady_tick(Duration::from_millis(120));
                    bar
                });
                bar.reset_elapsed();
                bar.set_message(format!("{scenario}: waiting for {what}"));
            }
            Self::Log { waits } => {
                let wait = Wait { what, since_us: now_us, next_us: now_us.saturating_add(FIRST_LINE) };
                waits.insert(scenario.clone(), wait);
            }
        }
    }

    /// Ends the wait of a scenario.
    pub(super) fn end_wait(&mut self, scenario: &ScenarioId) {
        match self {
            Self::Spinners { bars, .. } => {
                if let Some(bar) = bars.remove(scenario) {
                    bar.finish_and_clear();
                }
            }
            Self::Log { waits } => {
                waits.remove(scenario);
            }
        }
    }

    /// The waits that are due for a line: scenario, object of the wait, and its length in milliseconds.
    pub(super) fn due(&mut self, now_us: u64) -> Vec<(ScenarioId, String, u64)> {
        let Self::Log { waits } = self else { return Vec::new() };
        let mut due = Vec::new();
        for (scenario, wait) in waits.iter_mut().filter(|(_, wait)| now_us >= wait.next_us) {
            wait.next_us = now_us.saturating_add(NEXT_LINE);
            due.push((scenario.clone(), wait.what.clone(), (now_us - wait.since_us) / 1000));
        }
        due
    }

    /// Performs an action while the spinners are hidden.
    pub(super) fn suspend<R>(&self, action: impl FnOnce() -> R) -> R {
        match self {
            Self::Spinners { screen, .. } => screen.suspend(action),
            Self::Log { .. } => action(),
        }
    }
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("  {spinner} {elapsed:>4}  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
