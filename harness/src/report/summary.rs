// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;

use super::record::{RunRecord, ScenarioRecord};
use super::style::{Styles, padded, paint};
use super::text::{duration, one_line, plural};
use crate::check::Outcome;
use crate::machine::Accelerator;
use crate::runner::{Counts, Verdict};

/// Of the word at the head of a line, with the gap behind it.
const HEAD: usize = 10;
/// Of a reason, in characters.
const LONGEST: usize = 160;

/// The end of the terminal report: what came of the run, and where to read on.
pub(super) fn lines(
    record: &RunRecord,
    reports: &[Utf8PathBuf],
    troubles: &[String],
    styles: &Styles,
) -> Vec<String> {
    let mut lines = vec![String::new()];
    let end = record.end;
    if let Some(end) = end {
        lines.push(headed("summary", &counted(end.counts, end.duration_ms), styles));
    } else {
        lines.push(headed(
            "summary",
            "the run ended before its last event; what follows is incomplete",
            styles,
        ));
    }
    for outcome in [Outcome::Broken, Outcome::Failed, Outcome::Flaky, Outcome::Skipped] {
        let of_outcome = record.scenarios.iter().filter(|scenario| scenario.outcome == Some(outcome));
        for scenario in of_outcome {
            let word = padded(&outcome.to_string(), HEAD, styles.outcome(outcome));
            lines.push(format!("  {word}{}: {}", paint(&scenario.scenario, styles.name), reason(scenario)));
        }
    }
    if let Some(start) = &record.start {
        let image = format!("{} ({})", one_line(&start.image_name), start.image);
        lines.push(headed("image", &image, styles));
        lines.push(headed("machines", &machines(start.jobs, &start.acceleration), styles));
        if let Some(seed) = start.seed {
            lines.push(headed("order", &format!("shuffled by --seed {seed}"), styles));
        }
        lines.push(headed("files", &format!("{}, a directory per scenario", start.directory), styles));
    }
    for (index, path) in reports.iter().enumerate() {
        lines.push(headed(if index == 0 { "reports" } else { "" }, path.as_str(), styles));
    }
    lines.extend(kept(record, styles));
    for trouble in troubles {
        let word = padded("BROKEN", HEAD, styles.outcome(Outcome::Broken));
        lines.push(format!("  {word}{}", one_line(trouble)));
    }
    let verdict = verdict(record, troubles.is_empty());
    let flaky = end.map_or(0, |end| end.counts.flaky);
    let (said, outcome) = match verdict {
        Verdict::Passed if flaky > 0 => {
            (format!("{verdict}, {} flaky", plural(flaky, "scenario")), Outcome::Flaky)
        }
        Verdict::Passed => (verdict.to_string(), Outcome::Passed),
        _ => (verdict.to_string(), Outcome::Failed),
    };
    lines.push(paint(format!("verdict: {said}"), styles.outcome(outcome)));
    lines
}

/// What came of a run, as far as its events and the writing of its reports say.
pub(super) fn verdict(record: &RunRecord, reports_written: bool) -> Verdict {
    let flaky = record.start.as_ref().map(|start| start.flaky).unwrap_or_default();
    record
        .end
        .map_or(Verdict::Broken, |end| Verdict::of(end.counts, end.interrupted, !reports_written, flaky))
}

/// How to get into the machines that were left running, and how to end them.
fn kept(record: &RunRecord, styles: &Styles) -> Vec<String> {
    let mut lines = Vec::new();
    for kept in record.scenarios.iter().flat_map(|scenario| &scenario.kept) {
        lines.push(headed("kept", &paint(&kept.name, styles.name), styles));
        lines.push(headed("", &kept.ssh, styles));
        lines.push(headed("", &format!("loadgauge stop {}", kept.name), styles));
    }
    lines
}

fn headed(head: &str, text: &str, styles: &Styles) -> String {
    format!("  {}{text}", padded(head, HEAD, styles.dim))
}

/// `4 scenarios: 2 passed, 1 failed, 1 skipped, in 3m 12s`.
fn counted(counts: Counts, duration_ms: u64) -> String {
    let by_outcome = [
        (counts.passed, Outcome::Passed),
        (counts.flaky, Outcome::Flaky),
        (counts.failed, Outcome::Failed),
        (counts.broken, Outcome::Broken),
        (counts.skipped, Outcome::Skipped),
    ];
    let total = by_outcome.iter().map(|(count, _)| count).sum();
    let parts: Vec<String> = by_outcome
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, outcome)| format!("{count} {outcome}"))
        .collect();
    let colon = if parts.is_empty() { "" } else { ": " };
    format!("{}{colon}{} in {}", plural(total, "scenario"), parts.join(", "), duration(duration_ms))
}

/// Why a scenario did not simply pass, on one line.
pub(super) fn reason(scenario: &ScenarioRecord) -> String {
    if let Some(reason) = &scenario.skipped {
        return one_line(reason);
    }
    let step = scenario.first_failure().map(|step| {
        // The whole of it stands at the step; here, its first line says which failure it was.
        let found = step.finding.as_ref().and_then(|finding| finding.found.lines().next());
        let found = found.map(|line| shortened(&one_line(line))).unwrap_or_default();
        let colon = if found.is_empty() { "" } else { ": " };
        format!("step {}, {}{colon}{found}", step.step, one_line(&step.summary))
    });
    let cause = scenario.cause.as_ref().map(|cause| one_line(&cause.message));
    match (step, cause) {
        (Some(step), Some(cause)) if !step.contains(&shortened(&cause)) => format!("{step}; then {cause}"),
        (Some(step), _) => step,
        (None, Some(cause)) => cause,
        (None, None) => "no step says why".to_owned(),
    }
}

/// A line that leaves room for others.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ..", &line[..end]),
        None => line.to_owned(),
    }
}

/// How many scenarios ran at a time, and how.
pub(super) fn machines(jobs: usize, acceleration: &crate::machine::Acceleration) -> String {
    let name = match acceleration.accelerator {
        Accelerator::Kvm => "KVM",
        Accelerator::Tcg => "TCG",
    };
    let factor = if (acceleration.factor - 1.0).abs() < 0.05 {
        String::new()
    } else {
        format!(", time-outs x {:.1}", acceleration.factor)
    };
    let scenarios = plural(jobs, "scenario");
    format!("{scenarios} at a time, {name}{factor}: {}", one_line(&acceleration.reason))
}
