// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use super::record::{RunRecord, ScenarioRecord};
use super::summary::reason;
use super::text::one_line;
use crate::check::Outcome;
use crate::runner::FlakyPolicy;

/// Renders a run in the Test Anything Protocol, version 14, with a test point for each scenario
/// (<https://testanything.org/tap-version-14-specification.html>).
pub(super) fn render(record: &RunRecord) -> String {
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
    let name = escaped(&one_line(&scenario.scenario.to_string()));
    // Writing to a string cannot fail.
    let _ = write!(text, "{ok} {number} - {name}");
    if outcome == Outcome::Skipped {
        let _ = write!(text, " # SKIP {}", escaped(&reason(scenario)));
    }
    text.push('\n');
    if matches!(outcome, Outcome::Flaky | Outcome::Failed | Outcome::Broken) {
        // A JSON string is a YAML string too.
        let message = serde_json::Value::String(reason(scenario));
        let _ = writeln!(text, "  ---\n  outcome: {outcome}\n  message: {message}");
        let _ = writeln!(text, "  duration_ms: {}\n  ...", scenario.duration_ms);
    }
}

/// Escapes a description, so that nothing in it is a directive.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;
    use crate::runner::Event;

    fn tap(events: &[Event]) -> String {
        render(&RunRecord::of(events))
    }

    #[test]
    fn a_complete_run() {
        insta::assert_snapshot!(tap(&testing::complete_run()));
    }

    #[test]
    fn a_flaky_scenario_is_marked_and_an_incomplete_run_bails_out() {
        let text = tap(&testing::flaky_run());
        assert!(text.contains("ok 1 - docker.vendor\n  ---\n  outcome: flaky\n"), "{text}");
        assert!(tap(&testing::complete_run()[..4]).contains("Bail out!"));
    }
}
