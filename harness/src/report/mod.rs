// SPDX-License-Identifier: Apache-2.0
//! Consumers of events: terminal, JSON lines, JUnit, TAP, HTML, GitHub, and the files of each scenario.
//!
//! A `Report` knows nothing but events, so that it can be made again from `events.jsonl`:
//! [`json_lines::read`], then `replay`. During a run `consume` passes every event to every report. If a
//! report cannot be written, the others show the error and the run is broken.
//!
//! The terminal report writes to standard error only: `loadgauge run` has no data for standard output,
//! and the log of a CI job keeps the order of lines.
mod consume;
mod error;
mod failure;
mod github;
mod html;
pub mod json_lines;
mod junit;
mod log_stream;
mod progress;
mod record;
mod rendered_file;
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

pub(crate) use consume::{Report, consume, replay};
pub(crate) use error::ReportError;
pub(crate) use log_stream::{LogStream, log, stop_github_commands};
#[cfg(test)]
pub(crate) use record::StepRecord;
pub(crate) use record::{RunRecord, ScenarioRecord};
pub(crate) use standard::{EVENTS, from_events, standard};
pub(crate) use terminal::{Terminal, TerminalOptions};
pub(crate) use text::visible;

use github::GitHub;
use json_lines::JsonLines;
use scenario_files::{ScenarioFiles, commands_file};
use timings::TimingsReport;
