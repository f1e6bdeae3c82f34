// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};

use camino::Utf8PathBuf;

use super::record::{RunRecord, ScenarioRecord};
use super::summary::{machines, reason, verdict};
use super::text::{duration, one_line};
use super::{Report, ReportError};
use crate::check::Outcome;
use crate::runner::Event;

/// How many annotations of a kind GitHub shows for a step.
const MOST: usize = 10;
/// How many bytes GitHub takes as the summary of a step: less than 1 MiB, with room for the note.
const LARGEST: usize = 1024 * 1024 - 1024;

/// What a workflow of GitHub shows of a run: annotations, and a table in the step's summary.
///
/// Of each kind ten annotations are shown for a step, so that the last of more than that says how
/// many are left out; all of them stand in the summary.
pub struct GitHub {
    out: Box<dyn io::Write + Send>,
    summary: Option<Utf8PathBuf>,
    record: RunRecord,
}

impl GitHub {
    /// A report for the step of a workflow that this process runs in, if it does: GitHub sets
    /// `GITHUB_ACTIONS`, and names the file for the summary in `GITHUB_STEP_SUMMARY`.
    pub fn of_environment() -> Option<Self> {
        let is_set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        (is_set("GITHUB_ACTIONS")? == "true").then(|| {
            let summary = is_set("GITHUB_STEP_SUMMARY").map(Utf8PathBuf::from);
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
        let said = annotations(&self.record);
        let written = self.out.write_all(said.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|source| ReportError::Terminal { source })?;
        let Some(path) = &self.summary else { return Ok(()) };
        let file = OpenOptions::new().append(true).create(true).open(path);
        let mut file = file.map_err(ReportError::io("open", path))?;
        file.write_all(summary(&self.record).as_bytes()).map_err(ReportError::io("write", path))
    }
}

/// Lines that the runner of the workflow takes for annotations.
fn annotations(record: &RunRecord) -> String {
    let of = |outcomes: &[Outcome]| -> Vec<&ScenarioRecord> {
        let bad = |scenario: &&ScenarioRecord| scenario.outcome.is_some_and(|it| outcomes.contains(&it));
        record.scenarios.iter().filter(bad).collect()
    };
    let mut text = String::new();
    let kinds = [("error", of(&[Outcome::Failed, Outcome::Broken])), ("warning", of(&[Outcome::Flaky]))];
    for (kind, scenarios) in kinds {
        let shown = if scenarios.len() > MOST { MOST - 1 } else { scenarios.len() };
        for scenario in &scenarios[..shown] {
            let outcome = scenario.outcome.unwrap_or(Outcome::Broken);
            let title = property(&format!("{}: {outcome}", one_line(&scenario.scenario)));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "::{kind} title={title}::{}", message(&reason(scenario)));
        }
        if shown < scenarios.len() {
            let left = scenarios.len() - shown;
            let _ = writeln!(text, "::{kind} title=loadgauge::{left} more; the step's summary has them all");
        }
    }
    text
}

/// The text of an annotation, as the runner's own toolkit escapes it.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

/// The run as a table in Markdown, those that did not pass first.
fn summary(record: &RunRecord) -> String {
    let mut text = format!("### loadgauge: {}\n\n", verdict(record, true));
    if let Some(start) = &record.start {
        let _ = writeln!(
            text,
            "{}; {}\n",
            cell(&start.image_name),
            cell(&machines(start.jobs, &start.acceleration))
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
        let line = format!("| {} | {outcome} | {time} | {why} |\n", cell(&scenario.scenario));
        if text.len() + line.len() > LARGEST {
            let _ = writeln!(text, "\n{} more are left out here", scenarios.len() - index);
            break;
        }
        text.push_str(&line);
    }
    text
}

/// Text that neither ends a cell nor is taken for Markdown or HTML.
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

    fn record(events: &[Event]) -> RunRecord {
        let mut record = RunRecord::default();
        for event in events {
            record.take(event);
        }
        record
    }

    #[test]
    fn a_run_of_everything() {
        let record = record(&testing::run_of_everything());
        insta::assert_snapshot!(format!("{}---\n{}", annotations(&record), summary(&record)));
    }

    #[test]
    fn what_is_flaky_is_a_warning() {
        let text = annotations(&record(&testing::flaky_run()));
        assert!(text.starts_with("::warning title=docker.vendor%3A flaky::step 1"), "{text}");
    }

    fn many(count: usize, name: &str) -> RunRecord {
        let kind = |number: usize| EventKind::ScenarioFinished {
            scenario: format!("{name}{number}"),
            outcome: Outcome::Failed,
            cause: None,
            duration_ms: 0,
        };
        record(&(0..count).map(|number| Event::now(kind(number))).collect::<Vec<_>>())
    }

    #[test]
    fn no_more_is_said_than_github_shows() {
        let text = annotations(&many(30, "scenario"));
        assert_eq!(text.lines().count(), MOST);
        assert!(text.ends_with("21 more; the step's summary has them all\n"), "{text}");
        assert_eq!(annotations(&many(10, "scenario")).lines().count(), 10);
        let large = summary(&many(3000, &"x".repeat(500)));
        assert!(large.len() < 1024 * 1024 && large.contains("more are left out here"), "{}", large.len());
    }

    #[test]
    fn foreign_text_makes_no_command_and_no_markup() {
        assert_eq!(message("a\n::error::b 100%"), "a%0A::error::b 100%25");
        assert_eq!(cell("a | <b> `c`"), "a &#124; &lt;b&gt; &#96;c&#96;");
    }
}
