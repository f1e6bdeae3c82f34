// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestRerun, TestSuite, XmlString};

use super::ReportError;
use super::record::{RunRecord, ScenarioRecord, StepRecord};
use super::text::{duration, one_line, visible};
use crate::check::{Finding, Outcome};
use crate::runner::Cause;

/// Renders a run as JUnit XML: a test suite for each scenario, a test case for each step.
///
/// There is no standard; this follows what Jenkins, GitLab and `quick-junit` agree on. A failed step is a
/// `failure`, a broken one an `error`, a skipped one is `skipped` with its reason. A cause that ended a
/// scenario early is a test case of its own, since no step may show it. A step that passed after a failure
/// on an earlier machine contains a `flakyFailure`, as in Maven Surefire.
pub(super) fn render(record: &RunRecord) -> Result<String, ReportError> {
    Ok(report(record).to_string()?)
}

fn report(record: &RunRecord) -> quick_junit::Report {
    let mut report = quick_junit::Report::new("loadgauge");
    if let Some(end) = record.end {
        report.set_time(Duration::from_millis(end.duration_ms));
    }
    report.add_test_suites(record.scenarios.iter().map(suite));
    report
}

fn suite(scenario: &ScenarioRecord) -> TestSuite {
    let mut suite = TestSuite::new(text(&scenario.scenario.to_string()));
    suite.set_time(Duration::from_millis(scenario.duration_ms));
    if let Some(directory) = &scenario.directory {
        let started = UNIX_EPOCH + Duration::from_micros(scenario.started_us);
        let timestamp = humantime::format_rfc3339_seconds(started).to_string();
        suite.extra.insert(text("timestamp"), text(&timestamp));
        suite.add_property(("directory", visible(directory.as_str()).as_ref()));
    }
    suite.add_test_cases(scenario.steps.iter().map(|step| step_case(scenario, step)));
    if let Some(case) = cause_case(scenario) {
        suite.add_test_case(case);
    }
    if let Some(reason) = &scenario.skipped {
        let mut status = TestCaseStatus::skipped();
        status.set_message(text(&one_line(reason)));
        suite.add_test_case(case(scenario, "skipped", status));
    } else if scenario.outcome.is_none() {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message("the run ended before the scenario did");
        suite.add_test_case(case(scenario, "unfinished", status));
    }
    suite
}

fn step_case(scenario: &ScenarioRecord, step: &StepRecord) -> TestCase {
    let mut status = match step.outcome {
        Outcome::Passed | Outcome::Flaky => TestCaseStatus::success(),
        Outcome::Skipped => TestCaseStatus::skipped(),
        Outcome::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Broken => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    if let Some(finding) = &step.finding {
        status.set_message(text(&message(finding)));
        if step.outcome != Outcome::Skipped {
            status.set_description(text(&description(finding)));
        }
    }
    let earlier = scenario.earlier.iter().flat_map(|attempt| &attempt.steps);
    status.add_reruns(earlier.filter(|other| other.step == step.step).filter_map(rerun));
    let name = format!("{:03} {}", step.step, one_line(&step.summary));
    let mut case = case(scenario, &name, status);
    case.set_time(Duration::from_millis(step.duration_ms));
    if let Some(finding) = &step.finding
        && !finding.commands.is_empty()
    {
        case.set_system_out(text(&transcripts(finding)));
    }
    case
}

/// The test case for a cause that ended the scenario, or an earlier attempt of it, early.
fn cause_case(scenario: &ScenarioRecord) -> Option<TestCase> {
    let mut reruns = scenario.earlier.iter().filter_map(|attempt| {
        let cause = attempt.cause.as_ref()?;
        let mut rerun = TestRerun::new(kind_of(attempt.outcome));
        rerun.set_message(text(&one_line(&cause.message))).set_system_out(text(&console(cause)));
        Some(rerun)
    });
    let mut status = match (&scenario.cause, scenario.outcome) {
        (Some(cause), outcome) => {
            let mut status = TestCaseStatus::non_success(kind_of(outcome.unwrap_or(Outcome::Broken)));
            status.set_message(text(&one_line(&cause.message)));
            if let Some(hint) = &cause.hint {
                status.set_description(text(&format!("hint: {hint}")));
            }
            status
        }
        (None, _) => TestCaseStatus::success(),
    };
    let first = reruns.next();
    if first.is_none() && scenario.cause.is_none() {
        return None;
    }
    status.add_reruns(first.into_iter().chain(reruns));
    let mut ending = case(scenario, "the machine runs until the end of the scenario", status);
    if let Some(console) = scenario.cause.as_ref().map(console).filter(|console| !console.is_empty()) {
        ending.set_system_out(text(&console));
    }
    Some(ending)
}

fn console(cause: &Cause) -> String {
    cause.fault.as_ref().map(|fault| fault.console().join("\n")).unwrap_or_default()
}

fn kind_of(outcome: Outcome) -> NonSuccessKind {
    if outcome == Outcome::Failed { NonSuccessKind::Failure } else { NonSuccessKind::Error }
}

/// A step on an earlier machine, where it did not pass.
fn rerun(step: &StepRecord) -> Option<TestRerun> {
    let kind = match step.outcome {
        Outcome::Failed => NonSuccessKind::Failure,
        Outcome::Broken => NonSuccessKind::Error,
        _ => return None,
    };
    let mut rerun = TestRerun::new(kind);
    rerun.set_time(Duration::from_millis(step.duration_ms));
    if let Some(finding) = &step.finding {
        rerun.set_message(text(&message(finding))).set_description(text(&description(finding)));
        rerun.set_system_out(text(&transcripts(finding)));
    }
    Some(rerun)
}

fn case(scenario: &ScenarioRecord, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(text(name), status);
    case.set_classname(text(&scenario.scenario.to_string()));
    case
}

/// What was expected and found, on one line.
fn message(finding: &Finding) -> String {
    match (one_line(&finding.expected), one_line(&finding.found)) {
        (expected, found) if expected.is_empty() => found,
        (expected, found) => format!("expected {expected}; found {found}"),
    }
}

fn description(finding: &Finding) -> String {
    let mut text = format!("expected:\n{}\nfound:\n{}\n", finding.expected, finding.found);
    if let Some(hint) = &finding.hint {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

fn transcripts(finding: &Finding) -> String {
    let mut text = String::new();
    for command in &finding.commands {
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "$ {}\n# {}, {}", command.command, command.exit, duration(command.duration_ms));
        for output in [&command.stdout, &command.stderr] {
            let newline = if output.is_empty() || output.ends_with('\n') { "" } else { "\n" };
            let _ = write!(text, "{output}{newline}");
        }
    }
    text
}

/// Text that is valid in XML 1.0. The crate would drop control characters; here they are escaped.
fn text(text: &str) -> XmlString {
    XmlString::new(visible(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::testing;
    use crate::runner::Event;

    fn xml(events: &[Event]) -> String {
        render(&RunRecord::of(events)).expect("XML")
    }

    #[test]
    fn a_complete_run() {
        insta::assert_snapshot!(xml(&testing::complete_run()));
    }

    #[test]
    fn a_flaky_step_contains_its_failure() {
        let xml = xml(&testing::flaky_run());
        assert!(xml.contains("<flakyFailure"), "{xml}");
        assert!(xml.contains("failures=\"0\" errors=\"0\""), "{xml}");
    }

    #[test]
    fn a_run_that_was_killed_is_not_green() {
        let events: Vec<Event> = testing::complete_run().into_iter().take(2).collect();
        assert!(xml(&events).contains("the run ended before the scenario did"));
    }

    proptest! {
        #[test]
        fn foreign_text_is_escaped(hostile in any::<String>()) {
            let xml = xml(&testing::with_prefix(&testing::complete_run(), &hostile));
            let back = quick_junit::Report::deserialize_from_str(&xml);
            prop_assert!(back.is_ok(), "{:?}\n{xml}", back.err());
            let illegal = |c: char| matches!(c, '\u{fffe}' | '\u{ffff}') || (c < ' ' && !matches!(c, '\t' | '\n'));
            prop_assert!(!xml.contains(illegal), "{xml:?}");
        }
    }
}
