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
        let place = console_log.map(|file| format!("; more is in {file}")).unwrap_or_default();
        quoted(&mut lines, &fault.console().join("\n"), 0, &place, styles);
    }
    if let Some(hint) = &cause.hint {
        labelled(&mut lines, "hint", hint, styles);
    }
    lines
}

fn transcript(lines: &mut Vec<String>, command: &Transcript, file: Option<&Utf8Path>, styles: &Styles) {
    let end = format!("({}, {})", one_line(&command.exit), duration(command.duration_ms));
    labelled(lines, "command", &format!("{}  {end}", visible(command.command.trim_end())), styles);
    let what = if command.is_cut { "the accepted part of the output" } else { "the whole output" };
    let place = file.map(|file| format!("; {what} is in {file}")).unwrap_or_default();
    let streams = [
        ("stdout", &command.stdout, command.stdout_left_out),
        ("stderr", &command.stderr, command.stderr_left_out),
    ];
    for (label, text, left_out) in streams {
        if !text.trim().is_empty() {
            labelled(lines, label, "", styles);
            quoted(lines, text, left_out, &place, styles);
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

/// Adds the output of a guest, marked by a bar at the left, without the middle of what is long. The text may lack
/// lines already; `place` says where they are.
fn quoted(lines: &mut Vec<String>, text: &str, lacking: usize, place: &str, styles: &Styles) {
    let text = visible(text);
    let HeadAndTail { head, left_out, tail } = HeadAndTail::of(&text, lacking);
    let bar = paint("|", styles.dim);
    let quote = |line: &&str| format!("{INDENT}  {bar} {line}").trim_end().to_owned();
    lines.extend(head.iter().map(quote));
    if left_out > 0 {
        let note = format!("... {} left out{place}", plural(left_out, "line"));
        lines.push(format!("{INDENT}  {}", paint(note, styles.dim)));
    }
    lines.extend(tail.iter().map(quote));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_are_left_out_are_those_that_are_not_shown() {
        let shown = |is_cut| {
            let transcript = Transcript {
                stdout: format!("{}[9 bytes left out]\n{}", "a\n".repeat(50), "z\n".repeat(50)),
                stdout_left_out: 900,
                is_cut,
                ..Transcript::default()
            };
            let mut lines = Vec::new();
            super::transcript(&mut lines, &transcript, Some("commands/1.txt".into()), &Styles::plain());
            lines.join("\n")
        };
        // 1,000 lines, of which 30 are shown.
        let text = shown(false);
        assert!(text.contains("... 970 lines left out; the whole output is in commands/1.txt"), "{text}");
        assert!(shown(true).contains("; the accepted part of the output is in"), "{}", shown(true));
    }
}
