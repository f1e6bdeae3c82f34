// SPDX-License-Identifier: Apache-2.0
//! Consumers of events: terminal, JSON lines, JUnit, TAP, HTML, GitHub, and the files of each scenario.
//!
//! A [`Report`] knows nothing but events, so each of them can be made again from `events.jsonl`:
//! [`json_lines::read`], then [`replay`]. While a run goes on, [`consume`] hands every event to
//! every report, one after the other. A report that cannot be written is said aloud by the others
//! and makes the run broken.
//!
//! Everything that the terminal report writes goes to standard error: `loadgauge run` has no data
//! for standard output, and a log of a CI job keeps the order of lines.
mod consume;
mod error;
mod failure;
mod file;
mod github;
mod html;
pub mod json_lines;
mod junit;
mod progress;
mod record;
mod scenario_files;
mod standard;
mod style;
mod summary;
mod tap;
mod terminal;
#[cfg(test)]
mod testing;
mod text;
mod timings;

pub use consume::{Report, consume, replay};
pub use error::ReportError;
pub use github::GitHub;
pub use html::Html;
pub use json_lines::JsonLines;
pub use junit::JUnit;
pub use record::{AttemptRecord, RetainedRecord, RunRecord, RunStart, ScenarioRecord, StepRecord};
pub use scenario_files::{ScenarioFiles, commands_file};
pub use standard::{EVENTS, from_events, standard};
pub use style::Styles;
pub use tap::Tap;
pub use terminal::{Terminal, TerminalOptions};
pub use timings::TimingsReport;
