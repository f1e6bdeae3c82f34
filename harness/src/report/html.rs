// SPDX-License-Identifier: Apache-2.0
//! `report.html`: the run on one page that needs no other file. It links the files of the scenarios, and
//! scenarios that did not pass are unfolded.
//!
//! maud writes the page: it escapes every value, needs no template files, and compiles in two seconds.
use std::fmt::Write as _;

use camino::Utf8Path;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::commands_file;
use super::record::{RunRecord, RunStart, ScenarioRecord, StepRecord};
use super::summary::{INCOMPLETE, machines, reason, verdict};
use super::text::{HeadAndTail, duration, one_line, plural, shorten, visible};
use crate::check::{Finding, Outcome};
use crate::runner::Cause;

const STYLE: &str = include_str!("html.css");
/// Forbids scripts and everything from another place, should foreign text ever become markup.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// Longest title of a step, in characters. The title of a command is the command.
const TITLE: usize = 120;
/// The linked files of a machine, with the text of their links.
const MACHINE_FILES: [(&str, &str); 5] = [
    ("console.log", "console"),
    ("journal.jsonl", "journal"),
    ("config.ign", "Ignition config"),
    ("qemu.txt", "QEMU command line"),
    ("qemu.log", "QEMU log"),
];

/// Renders a run as HTML.
pub(super) fn render(record: &RunRecord) -> String {
    // The template contains no control character, so that each one comes from a guest or an author.
    visible(&page(record).into_string()).into_owned()
}

fn page(record: &RunRecord) -> Markup {
    let verdict = verdict(record, true).to_string();
    let run_directory = record.start.as_ref().map(|start| start.header.directory.as_path());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "loadgauge: " (verdict) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "loadgauge: " span class=(verdict) { (verdict) } }
                    p { (counts(record)) }
                    @if let Some(start) = &record.start { (circumstances(start)) }
                }
                @for scenario in &record.scenarios { (section(scenario, run_directory)) }
            }
        }
    }
}

fn counts(record: &RunRecord) -> String {
    let Some(end) = record.end else { return INCOMPLETE.to_owned() };
    let counts = end.counts;
    format!(
        "{} passed, {} flaky, {} failed, {} broken, {} skipped in {}{}",
        counts.passed,
        counts.flaky,
        counts.failed,
        counts.broken,
        counts.skipped,
        duration(end.duration_ms),
        if end.interrupted { ", interrupted" } else { "" }
    )
}

/// The image, the machines and the version of loadgauge.
fn circumstances(start: &RunStart) -> Markup {
    let header = &start.header;
    html! {
        dl {
            dt { "image" }
            dd { (header.image_name) }
            dt { "disk" }
            dd title=(header.image) {
                (header.image.file_name().unwrap_or(header.image.as_str()))
                ", SHA-256 " (header.image_digest.chars().take(16).collect::<String>()) "…"
            }
            dt { "machines" }
            dd { (machines(start.jobs, &header.acceleration)) }
            @if let Some(seed) = start.seed {
                dt { "order" }
                dd { "shuffled with --seed " (seed) }
            }
            dt { "loadgauge" }
            dd { (header.version) }
        }
    }
}

fn section(scenario: &ScenarioRecord, run_directory: Option<&Utf8Path>) -> Markup {
    let outcome = scenario.outcome.unwrap_or(Outcome::Broken);
    let is_open = !matches!(outcome, Outcome::Passed | Outcome::Skipped);
    html! {
        details open[is_open] {
            summary {
                (label(outcome)) " " (scenario.scenario)
                @if outcome != Outcome::Skipped { " " span class="dim" { (duration(scenario.duration_ms)) } }
            }
            @if !scenario.summary.is_empty() { p { (scenario.summary) } }
            @if outcome != Outcome::Passed && scenario.cause.is_none() { p { (reason(scenario)) } }
            @for attempt in &scenario.earlier {
                details {
                    summary { "attempt " (attempt.attempt) ": " (label(attempt.outcome)) }
                    (ending(attempt.cause.as_ref()))
                    (machine_files(attempt.directory.as_deref(), &scenario.machines, run_directory))
                    (steps(&attempt.steps, attempt.directory.as_deref(), run_directory))
                }
            }
            (ending(scenario.cause.as_ref()))
            (machine_files(scenario.directory.as_deref(), &scenario.machines, run_directory))
            @for kept in &scenario.kept {
                p { "machine left running as " (kept.name) ":" }
                pre { (kept.ssh) "\n" "loadgauge stop " (kept.name) }
            }
            (steps(&scenario.steps, scenario.directory.as_deref(), run_directory))
        }
    }
}

fn label(outcome: Outcome) -> Markup {
    html! { b class=(outcome) { (outcome) } }
}

/// The cause that ended a scenario early, with the lines of the console that show it.
fn ending(cause: Option<&Cause>) -> Markup {
    let Some(cause) = cause else { return Markup::default() };
    let console = cause.fault.as_ref().map(|fault| fault.console().join("\n")).unwrap_or_default();
    html! {
        p { b { (cause.message) } }
        @if let Some(hint) = &cause.hint { p { "hint: " (hint) } }
        (output(&console, 0))
    }
}

/// Links the files of the only machine, or of each of several.
fn machine_files(
    directory: Option<&Utf8Path>,
    machines: &[String],
    run_directory: Option<&Utf8Path>,
) -> Markup {
    let Some(directory) = directory else { return Markup::default() };
    let links = |directory: &Utf8Path| {
        html! {
            @for (index, (file, text)) in MACHINE_FILES.iter().enumerate() {
                @if index > 0 { " · " }
                a href=(address(&directory.join(file), run_directory)) { (text) }
            }
        }
    };
    html! {
        @if machines.is_empty() { p { (links(directory)) } }
        @for machine in machines { p { (machine) ": " (links(&directory.join(machine))) } }
    }
}

fn steps(steps: &[StepRecord], directory: Option<&Utf8Path>, run_directory: Option<&Utf8Path>) -> Markup {
    if steps.is_empty() {
        return Markup::default();
    }
    html! {
        ol {
            @for step in steps {
                li {
                    (label(step.outcome)) " " (title(&step.summary)) " "
                    span class="dim" {
                        (duration(step.duration_ms))
                        @if let (Some(directory), true) = (directory, step.has_commands()) {
                            @let file = directory.join(commands_file(step.step, &step.summary));
                            " · " a href=(address(&file, run_directory)) { "commands" }
                        }
                    }
                    @match (step.outcome, &step.finding) {
                        (Outcome::Passed, _) | (_, None) => {}
                        (Outcome::Skipped, Some(finding)) => { br; span class="dim" { (finding.found) } }
                        (_, Some(finding)) => { (details_of(finding)) }
                    }
                }
            }
        }
    }
}

/// The title of a step on one line. The whole of a long one is its tooltip.
fn title(summary: &str) -> Markup {
    let line = one_line(summary);
    let title = shorten(&line, TITLE);
    html! { span title=[(title != summary).then_some(summary)] { (title) } }
}

fn details_of(finding: &Finding) -> Markup {
    let hint = finding.hint.as_deref().unwrap_or_default();
    let fields = [("expected", finding.expected.as_str()), ("found", &finding.found), ("hint", hint)];
    html! {
        dl {
            @for (name, text) in fields.iter().filter(|(_, text)| !text.is_empty()) {
                dt { (name) }
                dd { (text) }
            }
        }
        @if let Some(command) = finding.commands.last() {
            @let text = format!(
                "$ {}  ({})\n{}{}",
                command.command.trim_end(),
                command.exit,
                command.stdout,
                command.stderr
            );
            // Each stream that lacks lines has a line in their place.
            @let both = usize::from(command.stdout_left_out > 0 && command.stderr_left_out > 0);
            (output(&text, command.stdout_left_out + command.stderr_left_out - both))
        }
    }
}

/// Output of a guest without the middle of what is long: a guest may have printed megabytes.
fn output(text: &str, lacking: usize) -> Markup {
    if text.trim().is_empty() {
        return Markup::default();
    }
    let HeadAndTail { head, left_out, tail } = HeadAndTail::of(text.trim_end(), lacking);
    html! {
        pre {
            (head.join("\n"))
            @if left_out > 0 { "\n" i { "... " (plural(left_out, "line")) " left out" } "\n" }
            (tail.join("\n"))
        }
    }
}

/// The address of a file, relative to the page where the file is part of the run: it then works in a copy
/// of the run's directory.
fn address(file: &Utf8Path, run_directory: Option<&Utf8Path>) -> String {
    let relative = run_directory.and_then(|directory| file.strip_prefix(directory).ok()).unwrap_or(file);
    // Two slashes at the beginning would be the address of another host.
    let root = if relative.is_absolute() { "/" } else { "" };
    let path = relative.as_str().trim_start_matches('/');
    path.bytes().fold(root.to_owned(), |mut address, byte| {
        if byte.is_ascii_alphanumeric() || b"-._/".contains(&byte) {
            address.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(address, "%{byte:02X}");
        }
        address
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;
    use crate::report::testing;
    use crate::runner::Event;

    fn html(events: &[Event]) -> String {
        render(&RunRecord::of(events)).replace(STYLE, "STYLE")
    }

    #[test]
    fn a_complete_run() {
        insta::assert_snapshot!(html(&testing::complete_run()).replace("><", ">\n<"));
    }

    #[test]
    fn the_page_needs_no_other_file_and_links_those_of_the_run() {
        let page = html(&testing::flaky_run());
        assert!(
            !page.contains("http://") && !page.contains("https://") && !page.contains("<script"),
            "{page}"
        );
        assert!(page.contains("<a href=\"docker.vendor/attempt-2/console.log\">console</a>"), "{page}");
        assert!(page.contains("attempt 1: <b class=\"failed\">failed</b>"), "{page}");
        assert_eq!(address("runs/1/a@2/x".into(), Some("runs/1".into())), "a%402/x");
        assert_eq!(address("//example.org/x".into(), Some("runs/1".into())), "/example.org/x");
        assert_eq!(address("javascript:alert(1)".into(), None), "javascript%3Aalert%281%29");
    }

    /// The names of the tags and attributes of a page, in order.
    ///
    /// Panics where the page is anything else than tags with quoted attributes and text without markup.
    fn structure(page: &str) -> Vec<String> {
        let tag = Regex::new(r#"^<(!DOCTYPE html|/?[a-z0-9]+(?: [a-z-]+(?:="[^"<>]*")?)*)>"#).expect("valid");
        let value = Regex::new(r#"="[^"]*""#).expect("valid");
        let mut names = Vec::new();
        let mut rest = page;
        while let Some(start) = rest.find(['<', '>']) {
            let found =
                tag.captures(&rest[start..]).unwrap_or_else(|| panic!("not a tag: {}", &rest[start..]));
            // Only long titles have a tooltip.
            names.push(value.replace_all(&found[1], "").replace(" title", ""));
            rest = &rest[start + found[0].len()..];
        }
        names
    }

    #[test]
    fn foreign_text_in_every_field_is_only_text() {
        let hostile = "<script>alert(1)</script>\" onclick='x' & &amp; \u{1b}[2J\u{0}\u{202e}\r\n--> ";
        for events in [testing::complete_run(), testing::flaky_run()] {
            let (plain, page) = (html(&events), html(&testing::with_prefix(&events, hostile)));
            assert_eq!(structure(&page), structure(&plain));
            let control = page.chars().find(|&character| character != '\n' && character.is_control());
            assert_eq!(control, None);
            assert!(!page.contains('\u{202e}'), "a bidirectional control");
            assert!(
                page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onclick='x' &amp; &amp;amp; ")
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_only_text(hostile in any::<String>(), markup in "[<>&\"'a-z/=! \\-]{0,40}") {
            let events = testing::complete_run();
            let page = html(&testing::with_prefix(&events, &format!("{markup}{hostile}")));
            prop_assert_eq!(structure(&page), structure(&html(&events)));
        }
    }
}
