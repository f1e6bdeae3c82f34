// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;

use super::style::{Styles, paint};
use super::text::{HeadAndTail, duration, one_line, plural, visible};
use crate::check::{Finding, Transcript};
use crate::runner::Cause;

/// Indentation of every line below a failed step.
const INDENT: &str = "          ";
/// Width of the column of labels.
const LABEL: usize = 10;

/// The lines of a finding: what was expected, what was found, and the last command with its output.
/// `file` contains the whole output where it is cut here.
pub(super) fn finding(finding: &Finding, file: Option<&Utf8Path>, styles: &Styles) -> Vec<String> {
    let mut lines = Vec::new();
    labelled(&mut lines, "expected", &finding.expected, styles);
    labelled(&mut lines, "found", &finding.found, styles);
    if let Some((last, earlier)) = finding.commands.split_last() {
        transcript(&mut lines, last, file, styles);
        if let (false, Some(file)) = (earlier.is_empty(), file) {
            let count = plural(earlier.len(), "earlier command");
            labelled(&mut lines, "", &format!("{count} in {file}"), styles);
        }
    }
    if let Some(hint) = &finding.hint {
        labelled(&mut lines, "hint", hint, styles);
    }
    lines
}

/// The lines below the message of a cause that ended a scenario early: the console and the hint.
pub(super) fn cause(cause: &Cause, console_log: Option<&Utf8Path>, styles: &Styles) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(fault) = &cause.fault
        && !fault.console().is_empty()
    {
        labelled(&mut lines, "console", &console_log.map(ToString::to_string).unwrap_or_default(), styles);
        quoted(&mut lines, &fault.console().join("\n"), console_log, styles);
    }
    if let Some(hint) = &cause.hint {
        labelled(&mut lines, "hint", hint, styles);
    }
    lines
}

fn transcript(lines: &mut Vec<String>, command: &Transcript, file: Option<&Utf8Path>, styles: &Styles) {
    let end = format!("({}, {})", one_line(&command.exit), duration(command.duration_ms));
    labelled(lines, "command", &format!("{}  {end}", visible(command.command.trim_end())), styles);
    for (label, text) in [("stdout", &command.stdout), ("stderr", &command.stderr)] {
        if !text.trim().is_empty() {
            labelled(lines, label, "", styles);
            quoted(lines, text, file, styles);
        }
    }
    if command.stdout.trim().is_empty() && command.stderr.trim().is_empty() {
        labelled(lines, "", "no output", styles);
    }
}

/// Adds a label with its text, whose further lines are aligned with the first.
fn labelled(lines: &mut Vec<String>, label: &str, text: &str, styles: &Styles) {
    let text = visible(text.trim_end());
    let mut text_lines = text.lines();
    let first = text_lines.next().unwrap_or_default();
    let gap = LABEL.saturating_sub(label.chars().count());
    lines.push(format!("{INDENT}{}{:gap$}{first}", paint(label, styles.dim), "").trim_end().to_owned());
    lines.extend(text_lines.map(|line| format!("{INDENT}{:LABEL$}{line}", "").trim_end().to_owned()));
}

/// Adds the output of a guest, marked by a bar at the left, without the middle of what is long.
fn quoted(lines: &mut Vec<String>, text: &str, file: Option<&Utf8Path>, styles: &Styles) {
    let text = visible(text);
    let HeadAndTail { head, left_out, tail } = HeadAndTail::of(&text);
    let bar = paint("|", styles.dim);
    let quote = |line: &&str| format!("{INDENT}  {bar} {line}").trim_end().to_owned();
    lines.extend(head.iter().map(quote));
    if left_out > 0 {
        let place = file.map(|file| format!("; the whole output is in {file}")).unwrap_or_default();
        let note = format!("... {} left out{place}", plural(left_out, "line"));
        lines.push(format!("{INDENT}  {}", paint(note, styles.dim)));
    }
    lines.extend(tail.iter().map(quote));
}
