// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use camino::Utf8PathBuf;

use super::file::write_whole;
use super::record::{RunRecord, ScenarioRecord};
use super::summary::reason;
use super::text::one_line;
use super::{Report, ReportError};
use crate::check::Outcome;
use crate::runner::{Event, FlakyPolicy};

/// `report.tap`: a test point per scenario, in the Test Anything Protocol, version 14
/// (<https://testanything.org/tap-version-14-specification.html>).
#[derive(Debug)]
pub struct Tap {
    path: Utf8PathBuf,
    record: RunRecord,
}

impl Tap {
    /// A report that will be written to this path when the run ends.
    pub fn new(path: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into(), record: RunRecord::default() }
    }
}

impl Report for Tap {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.record.take(event);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        write_whole(&self.path, text(&self.record).as_bytes())
    }
}

fn text(record: &RunRecord) -> String {
    let flaky = record.start.as_ref().map(|start| start.flaky).unwrap_or_default();
    let mut text = format!("TAP version 14\n1..{}\n", record.scenarios.len());
    for (index, scenario) in record.scenarios.iter().enumerate() {
        point(&mut text, index + 1, scenario, flaky);
    }
    match &record.end {
        Some(end) if end.interrupted => text.push_str("Bail out! interrupted\n"),
        Some(_) => {}
        None => text.push_str("Bail out! the run ended before its last event\n"),
    }
    text
}

fn point(text: &mut String, number: usize, scenario: &ScenarioRecord, flaky: FlakyPolicy) {
    let outcome = scenario.outcome.unwrap_or(Outcome::Broken);
    let ok = match outcome {
        Outcome::Passed | Outcome::Skipped => "ok",
        Outcome::Flaky if flaky == FlakyPolicy::Pass => "ok",
        Outcome::Flaky | Outcome::Failed | Outcome::Broken => "not ok",
    };
    let name = escaped(&one_line(&scenario.scenario));
    // Writing to a string cannot fail.
    let _ = write!(text, "{ok} {number} - {name}");
    if outcome == Outcome::Skipped {
        let _ = write!(text, " # SKIP {}", escaped(&reason(scenario)));
    }
    text.push('\n');
    if matches!(outcome, Outcome::Flaky | Outcome::Failed | Outcome::Broken) {
        // A string of JSON is one of YAML as well.
        let said = serde_json::Value::String(reason(scenario));
        let _ = writeln!(text, "  ---\n  outcome: {outcome}\n  message: {said}");
        let _ = writeln!(text, "  duration_ms: {}\n  ...", scenario.duration_ms);
    }
}

/// A description in which nothing is taken for a directive.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    fn tap(events: &[Event]) -> String {
        let mut record = RunRecord::default();
        for event in events {
            record.take(event);
        }
        text(&record)
    }

    #[test]
    fn a_run_of_everything() {
        insta::assert_snapshot!(tap(&testing::run_of_everything()));
    }

    #[test]
    fn a_flaky_scenario_says_so_and_a_run_that_was_killed_bails_out() {
        let text = tap(&testing::flaky_run());
        assert!(text.contains("ok 1 - docker.vendor\n  ---\n  outcome: flaky\n"), "{text}");
        assert!(tap(&testing::run_of_everything()[..4]).contains("Bail out!"));
    }
}
