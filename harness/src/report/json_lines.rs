// SPDX-License-Identifier: Apache-2.0
//! `events.jsonl`: one event a line, in the order in which they happened.
//!
//! The first line is always `run-started` and contains the version of the format, [`FORMAT`].
use std::fs::File;
use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, fs};
use serde::Deserialize;

use super::{Report, ReportError};
use crate::runner::{Event, FORMAT};

/// The report from which all others can be made again.
#[derive(Debug)]
pub(super) struct JsonLines {
    path: Utf8PathBuf,
    file: File,
}

/// The events of a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// the file cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// the first line is not the beginning of a run
    #[error("`{path}` does not begin with the event `run-started`")]
    NoStart {
        /// the file
        path: Utf8PathBuf,
    },
    /// the file was written by another version of loadgauge
    #[error("`{path}` has format {found}, but this version of loadgauge reads format {FORMAT}")]
    Format {
        /// the file
        path: Utf8PathBuf,
        /// the version of its format
        found: u64,
    },
    /// a line is not an event
    #[error("`{path}`, line {line}: not an event")]
    Line {
        /// the file
        path: Utf8PathBuf,
        /// the number of the line, from 1
        line: usize,
        /// the error of the parser
        source: serde_json::Error,
    },
}

impl Hint for ReadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("name the directory of a run, such as one in `loadgauge-runs`".to_owned())
            }
            Self::File(error) => error.hint(),
            Self::NoStart { .. } => {
                Some("name the directory of a run, which contains `events.jsonl`".to_owned())
            }
            Self::Format { found, .. } => {
                let age = if *found > u64::from(FORMAT) { "a newer" } else { "an older" };
                Some(format!("use the version of loadgauge that wrote it, {age} one than this"))
            }
            Self::Line { .. } => Some("the file was changed or damaged after the run".to_owned()),
        }
    }
}

impl JsonLines {
    /// Creates the file, or empties an existing one.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(super) fn create(path: &Utf8Path) -> Result<Self, ReportError> {
        Ok(Self { path: path.to_owned(), file: fs::create(path)? })
    }
}

impl Report for JsonLines {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        // A single unbuffered write: readers see whole lines, and a killed run has lost none.
        Ok(self.file.write_all(&line).map_err(FileError::at("write", &self.path))?)
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        Ok(self.file.sync_all().map_err(FileError::at("sync", &self.path))?)
    }
}

/// Reads the events of a run. If the run was killed, a half-written last line is ignored.
///
/// # Errors
/// The file cannot be read, has another format, or contains a line that is not an event.
pub fn read(path: &Utf8Path) -> Result<Vec<Event>, ReadError> {
    parse(&fs::read_to_string(path)?, path)
}

/// Parses the text of a file; `path` is for messages.
fn parse(text: &str, path: &Utf8Path) -> Result<Vec<Event>, ReadError> {
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).peekable();
    check_format(lines.peek().copied().unwrap_or_default(), path)?;
    lines
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|source| ReadError::Line {
                path: path.to_owned(),
                line: index + 1,
                source,
            })
        })
        .collect()
}

/// Checks the version of the format before the other lines, which may have changed with it.
fn check_format(first: &str, path: &Utf8Path) -> Result<(), ReadError> {
    #[derive(Deserialize)]
    struct Start {
        event: String,
        format: u64,
    }
    match serde_json::from_str::<Start>(first) {
        Ok(start) if start.event != "run-started" => Err(ReadError::NoStart { path: path.to_owned() }),
        Ok(start) if start.format != u64::from(FORMAT) => {
            Err(ReadError::Format { path: path.to_owned(), found: start.format })
        }
        Ok(_) => Ok(()),
        Err(_) => Err(ReadError::NoStart { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::testing;
    use crate::runner::EventKind;

    fn written(events: &[Event]) -> Vec<Event> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8Path::from_path(directory.path()).expect("UTF-8").join("events.jsonl");
        let mut report = JsonLines::create(&path).expect("created");
        for event in events {
            report.event(event).expect("written");
        }
        report.finish().expect("synced");
        read(&path).expect("read")
    }

    #[test]
    fn every_kind_of_event_comes_back() {
        let events = testing::complete_run();
        assert_eq!(written(&events), events);
    }

    #[test]
    fn another_format_is_an_error_of_its_own() {
        let line = "{\"time_us\":1,\"event\":\"run-started\",\"format\":7,\"what\":\"ever\"}\n";
        let error = parse(line, "old.jsonl".into()).expect_err("format 7");
        assert_eq!(
            error.to_string(),
            "`old.jsonl` has format 7, but this version of loadgauge reads format 1"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("newer")));
    }

    #[test]
    fn a_file_without_events_is_refused() {
        for text in ["", "\n", "<xml/>\n", "{\"event\":\"waiting\",\"format\":1}\n"] {
            assert!(matches!(parse(text, "x".into()), Err(ReadError::NoStart { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_damaged_line_is_an_error_and_a_half_written_last_one_is_ignored() {
        let events = testing::complete_run();
        let mut text: String =
            events.iter().map(|event| serde_json::to_string(event).expect("JSON") + "\n").collect();
        text.push_str("{\"time_us\":12");
        assert_eq!(parse(&text, "x".into()).expect("read").len(), events.len());
        text.push('\n');
        let error = parse(&text, "x".into()).expect_err("damaged");
        assert_eq!(error.to_string(), format!("`x`, line {}: not an event", events.len() + 1));
    }

    proptest! {
        #[test]
        fn foreign_text_comes_back(what in any::<String>(), out in any::<String>(), time_us in any::<u64>()) {
            let mut events = testing::complete_run();
            let mut finding = testing::failed_finding();
            finding.commands[0].stdout = out;
            finding.found = what.clone();
            let scenario = what.clone().into();
            events.push(Event { time_us, kind: EventKind::Waiting { scenario, what: what.clone() } });
            events.push(Event {
                time_us,
                kind: EventKind::StepFinished {
                    machine: None,
                    scenario: what.clone().into(),
                    step: 1,
                    summary: what,
                    outcome: finding.outcome,
                    finding: Some(finding),
                    attempts: u32::MAX,
                    duration_ms: u64::MAX,
                },
            });
            let text: String = events
                .iter()
                .map(|event| serde_json::to_string(event).expect("JSON") + "\n")
                .collect();
            prop_assert_eq!(parse(&text, "x".into()).expect("read"), events);
        }

        #[test]
        fn foreign_bytes_never_panic(text in any::<String>()) {
            let _ = parse(&text, "x".into());
        }
    }
}
