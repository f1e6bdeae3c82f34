// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};

use camino::Utf8PathBuf;
use loadgauge_host::{FileError, environment};

use super::log_stream::{harmless, in_github_actions};
use super::record::{RunRecord, ScenarioRecord};
use super::summary::{machines, reason, verdict};
use super::text::{duration, one_line};
use super::{Report, ReportError};
use crate::check::Outcome;
use crate::runner::Event;

/// Number of annotations of a kind that GitHub shows for a step.
const MAX_ANNOTATIONS: usize = 10;
/// Size of the summary of a step in bytes: GitHub takes 1 MiB, less room for the note.
const MAX_SUMMARY: usize = 1024 * 1024 - 1024;

/// The report for GitHub Actions: annotations, and a table in the summary of the step.
///
/// GitHub shows ten annotations of a kind for a step. Where there are more, the last one gives the number
/// of the others, which are in the summary.
pub(crate) struct GitHub {
    out: Box<dyn io::Write + Send>,
    summary: Option<Utf8PathBuf>,
    record: RunRecord,
}

impl GitHub {
    /// The report, if this process runs in a step of GitHub Actions.
    pub(crate) fn of_environment() -> Option<Self> {
        in_github_actions().then(|| {
            let summary = environment::value(environment::GITHUB_STEP_SUMMARY).map(Utf8PathBuf::from);
            Self { out: Box::new(io::stdout()), summary, record: RunRecord::default() }
        })
    }
}

impl Report for GitHub {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.record.take(event);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        let text = annotations(&self.record);
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|source| ReportError::Stream { stream: "standard output", source })?;
        let Some(path) = &self.summary else { return Ok(()) };
        let file = OpenOptions::new().append(true).create(true).open(path);
        let mut file = file.map_err(FileError::at("open", path))?;
        Ok(file.write_all(summary(&self.record).as_bytes()).map_err(FileError::at("write", path))?)
    }
}

/// The commands that make annotations
/// (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).
fn annotations(record: &RunRecord) -> String {
    let of = |outcomes: &[Outcome]| -> Vec<&ScenarioRecord> {
        let bad = |scenario: &&ScenarioRecord| scenario.outcome.is_some_and(|it| outcomes.contains(&it));
        record.scenarios.iter().filter(bad).collect()
    };
    let mut text = String::new();
    let kinds = [("error", of(&[Outcome::Failed, Outcome::Broken])), ("warning", of(&[Outcome::Flaky]))];
    for (kind, scenarios) in kinds {
        let shown = if scenarios.len() > MAX_ANNOTATIONS { MAX_ANNOTATIONS - 1 } else { scenarios.len() };
        for scenario in &scenarios[..shown] {
            let outcome = scenario.outcome.unwrap_or(Outcome::Broken);
            let title = property(&format!("{}: {outcome}", one_line(&scenario.scenario.to_string())));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "::{kind} title={title}::{}", message(&reason(scenario)));
        }
        if shown < scenarios.len() {
            let left = scenarios.len() - shown;
            let _ = writeln!(text, "::{kind} title=loadgauge::{left} more in the summary of the step");
        }
    }
    text
}

/// Escapes the text of an annotation as GitHub's toolkit does.
fn message(text: &str) -> String {
    harmless(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of an annotation.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

/// The run as a table in Markdown, with the scenarios that did not pass first.
fn summary(record: &RunRecord) -> String {
    let mut text = format!("### loadgauge: {}\n\n", verdict(record, true));
    if let Some(start) = &record.start {
        let _ = writeln!(
            text,
            "{}; {}\n",
            cell(&start.header.image_name),
            cell(&machines(start.jobs, &start.header.acceleration))
        );
    }
    text.push_str("| scenario | outcome | time | |\n|---|---|---|---|\n");
    let rank = |scenario: &&ScenarioRecord| match scenario.outcome {
        None | Some(Outcome::Broken | Outcome::Failed) => 0,
        Some(Outcome::Flaky) => 1,
        Some(Outcome::Passed) => 2,
        Some(Outcome::Skipped) => 3,
    };
    let mut scenarios: Vec<&ScenarioRecord> = record.scenarios.iter().collect();
    scenarios.sort_by_key(rank);
    for (index, scenario) in scenarios.iter().enumerate() {
        let outcome = scenario.outcome.unwrap_or(Outcome::Broken);
        let why = if outcome == Outcome::Passed { String::new() } else { cell(&reason(scenario)) };
        let time = duration(scenario.duration_ms);
        let line = format!("| {} | {outcome} | {time} | {why} |\n", cell(&scenario.scenario.to_string()));
        if text.len() + line.len() > MAX_SUMMARY {
            let _ = writeln!(text, "\n{} more were left out", scenarios.len() - index);
            break;
        }
        text.push_str(&line);
    }
    text
}

/// Escapes a text for a cell of a table, where nothing in it is Markdown or HTML.
fn cell(text: &str) -> String {
    one_line(text).chars().fold(String::new(), |mut cell, character| {
        match character {
            '<' => cell.push_str("&lt;"),
            '>' => cell.push_str("&gt;"),
            '&' => cell.push_str("&amp;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '@' => {
                let _ = write!(cell, "&#{};", u32::from(character));
            }
            other => cell.push(other),
        }
        cell
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use crate::runner::EventKind;

    #[test]
    fn a_complete_run() {
        let record = RunRecord::of(&testing::complete_run());
        insta::assert_snapshot!(format!("{}---\n{}", annotations(&record), summary(&record)));
    }

    #[test]
    fn a_flaky_scenario_is_a_warning() {
        let text = annotations(&RunRecord::of(&testing::flaky_run()));
        assert!(text.starts_with("::warning title=docker.vendor%3A flaky::step 1"), "{text}");
    }

    fn many(count: usize, name: &str) -> RunRecord {
        let kind = |number: usize| EventKind::ScenarioFinished {
            scenario: format!("{name}{number}").into(),
            outcome: Outcome::Failed,
            cause: None,
            duration_ms: 0,
        };
        RunRecord::of(&(0..count).map(|number| Event::now(kind(number))).collect::<Vec<_>>())
    }

    #[test]
    fn there_are_no_more_annotations_than_github_shows() {
        let text = annotations(&many(30, "scenario"));
        assert_eq!(text.lines().count(), MAX_ANNOTATIONS);
        assert!(text.ends_with("21 more in the summary of the step\n"), "{text}");
        assert_eq!(annotations(&many(10, "scenario")).lines().count(), 10);
        let large = summary(&many(3000, &"x".repeat(500)));
        assert!(large.len() < 1024 * 1024 && large.contains("more were left out"), "{}", large.len());
    }

    #[test]
    fn no_annotation_contains_another_command() {
        let hostile = "oops\n::stop-commands::x9\r##[add-mask]failed\n";
        let record = RunRecord::of(&testing::with_prefix(&testing::complete_run(), hostile));
        let text = annotations(&record);
        assert!(text.lines().count() >= 2, "{text}");
        for line in text.split(['\n', '\r']).filter(|line| !line.is_empty()) {
            assert!(line.starts_with("::error title=") && !line.contains("##["), "{line}");
        }
    }

    #[test]
    fn foreign_text_is_neither_command_nor_markup() {
        assert_eq!(message("a\n::error::b 100%"), "a%0A:\\:error::b 100%25");
        assert_eq!(message("##[error]x"), "#\\#[error]x");
        assert_eq!(cell("a | <b> `c`"), "a &#124; &lt;b&gt; &#96;c&#96;");
    }
}
