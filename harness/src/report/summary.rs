// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;

use super::record::{RunRecord, ScenarioRecord};
use super::style::{Styles, padded, paint};
use super::text::{duration, one_line, plural, shorten};
use crate::check::Outcome;
use crate::machine::{Acceleration, Accelerator};
use crate::runner::{Counts, Verdict};

/// Width of the column of labels.
const LABEL: usize = 10;
/// Longest first line of a finding in a reason, in characters.
const LONGEST: usize = 160;
/// The summary of a run whose last event is missing.
pub(super) const INCOMPLETE: &str = "the run ended before its last event; its results are incomplete";

/// The end of the terminal report: outcomes, files and the verdict.
pub(super) fn lines(
    record: &RunRecord,
    reports: &[Utf8PathBuf],
    report_errors: &[String],
    styles: &Styles,
) -> Vec<String> {
    let counted = record.end.map(|end| counts(end.counts, end.duration_ms));
    let mut lines =
        vec![String::new(), labelled("summary", counted.as_deref().unwrap_or(INCOMPLETE), styles)];
    for outcome in [Outcome::Broken, Outcome::Failed, Outcome::Flaky, Outcome::Skipped] {
        let of_outcome = record.scenarios.iter().filter(|scenario| scenario.outcome == Some(outcome));
        for scenario in of_outcome {
            let label = padded(&outcome.to_string(), LABEL, styles.outcome(outcome));
            lines.push(format!("  {label}{}: {}", paint(&scenario.scenario, styles.name), reason(scenario)));
        }
    }
    if let Some(start) = &record.start {
        let header = &start.header;
        let image = format!("{} ({})", one_line(&header.image_name), header.image);
        lines.push(labelled("image", &image, styles));
        lines.push(labelled("machines", &machines(start.jobs, &header.acceleration), styles));
        if let Some(seed) = start.seed {
            lines.push(labelled("order", &format!("shuffled with --seed {seed}"), styles));
        }
        lines.push(labelled(
            "files",
            &format!("{}, with a directory for each scenario", header.directory),
            styles,
        ));
    }
    for (index, path) in reports.iter().enumerate() {
        lines.push(labelled(if index == 0 { "reports" } else { "" }, path.as_str(), styles));
    }
    lines.extend(kept(record, styles));
    for error in report_errors {
        let label = padded("BROKEN", LABEL, styles.outcome(Outcome::Broken));
        lines.push(format!("  {label}{}", one_line(error)));
    }
    let verdict = verdict(record, report_errors.is_empty());
    let flaky = record.end.map_or(0, |end| end.counts.flaky);
    let (text, outcome) = match verdict {
        Verdict::Passed if flaky > 0 => {
            (format!("{verdict}, {} flaky", plural(flaky, "scenario")), Outcome::Flaky)
        }
        Verdict::Passed => (verdict.to_string(), Outcome::Passed),
        _ => (verdict.to_string(), Outcome::Failed),
    };
    lines.push(paint(format!("verdict: {text}"), styles.outcome(outcome)));
    lines
}

/// The verdict on a run, whose reports may be incomplete.
pub(super) fn verdict(record: &RunRecord, reports_written: bool) -> Verdict {
    let flaky = record.start.as_ref().map(|start| start.flaky).unwrap_or_default();
    record
        .end
        .map_or(Verdict::Broken, |end| Verdict::of(end.counts, end.interrupted, !reports_written, flaky))
}

/// The commands that log in to the machines that were left running, and stop them.
fn kept(record: &RunRecord, styles: &Styles) -> Vec<String> {
    let mut lines = Vec::new();
    for kept in record.scenarios.iter().flat_map(|scenario| &scenario.kept) {
        lines.push(labelled("kept", &paint(&kept.name, styles.name), styles));
        lines.push(labelled("", &kept.ssh, styles));
        lines.push(labelled("", &format!("loadgauge stop {}", kept.name), styles));
    }
    lines
}

fn labelled(label: &str, text: &str, styles: &Styles) -> String {
    format!("  {}{text}", padded(label, LABEL, styles.dim))
}

/// `4 scenarios: 2 passed, 1 failed, 1 skipped, in 3m 12s`.
fn counts(counts: Counts, duration_ms: u64) -> String {
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

/// Why a scenario did not pass at once, on one line.
pub(super) fn reason(scenario: &ScenarioRecord) -> String {
    if let Some(reason) = &scenario.skipped {
        return one_line(reason);
    }
    let step = scenario.first_failure().map(|step| {
        let found = step.finding.as_ref().map(|finding| first_of(&finding.found)).unwrap_or_default();
        let colon = if found.is_empty() { "" } else { ": " };
        format!("step {}, {}{colon}{found}", step.step, one_line(&step.summary))
    });
    let cause = scenario.cause.as_ref().map(|cause| one_line(&cause.message));
    match (step, cause) {
        (Some(step), Some(cause)) if !step.contains(&*shorten(&cause, LONGEST)) => {
            format!("{step}; then {cause}")
        }
        (Some(step), _) => step,
        (None, Some(cause)) => cause,
        (None, None) => "no step failed".to_owned(),
    }
}

/// The beginning of a finding that can be understood alone. The step shows the whole one, so its first line is
/// enough; one that only introduces the next ones, such as `stdout is`, is continued by them.
fn first_of(found: &str) -> String {
    let mut lines = found.lines().map(one_line).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let text = if first.ends_with(':') || first.ends_with(" is") {
        std::iter::once(first).chain(lines).collect::<Vec<_>>().join(" ")
    } else {
        first
    };
    shorten(&text, LONGEST).into_owned()
}

/// The number of concurrent scenarios and the accelerator.
pub(super) fn machines(jobs: usize, acceleration: &Acceleration) -> String {
    let name = match acceleration.accelerator {
        Accelerator::Kvm => "KVM",
        Accelerator::Tcg => "TCG",
    };
    let factor = if (acceleration.factor - 1.0).abs() < 0.05 {
        String::new()
    } else {
        format!(", time-outs x{}", (acceleration.factor * 10.0).round() / 10.0)
    };
    let scenarios = plural(jobs, "scenario");
    format!("{scenarios} at a time, {name}{factor}: {}", one_line(&acceleration.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_stands_alone() {
        assert_eq!(first_of("status 1: no\nstdout is empty"), "status 1: no");
        assert_eq!(first_of("stdout is \n`one\\n`\n`two\\n`"), "stdout is `one\\n` `two\\n`");
        assert_eq!(
            first_of("stdout differs from line 2 on:\n- `b`\n+ `B`"),
            "stdout differs from line 2 on: - `b` + `B`"
        );
        assert_eq!(first_of("\n\n"), "");
        let long = first_of(&format!("stdout is\n{}", "`x`\n".repeat(500)));
        assert!(long.starts_with("stdout is `x` `x`") && long.chars().count() <= LONGEST + 3, "{long}");
    }
}
