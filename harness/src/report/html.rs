// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::file::write_whole;
use super::record::{RunRecord, ScenarioRecord, StepRecord};
use super::summary::{machines, reason, verdict};
use super::text::{Excerpt, duration, plural, visible};
use super::{Report, ReportError, commands_file};
use crate::check::{Finding, Outcome};
use crate::runner::{Cause, Event};

/// How the page looks: by day and by night, on a desk and on a phone.
const STYLE: &str = include_str!("html.css");
/// The records of a machine that are linked, with what they are called.
const RECORDS: &[(&str, &str)] = &[
    ("console.log", "console"),
    ("journal.jsonl", "journal"),
    ("config.ign", "Ignition config"),
    ("qemu.txt", "QEMU's command line"),
    ("qemu.log", "QEMU's own words"),
];

/// `report.html`: the run on one page that needs nothing else, and links the records that lie beside
/// it. What did not pass stands open.
#[derive(Debug)]
pub struct Html {
    path: Utf8PathBuf,
    record: RunRecord,
}

impl Html {
    /// A report that will be written to this path when the run ends.
    pub fn new(path: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into(), record: RunRecord::default() }
    }
}

impl Report for Html {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.record.take(event);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        write_whole(&self.path, page(&self.record).as_bytes())
    }
}

// Writing to a string cannot fail, here and below.
fn page(record: &RunRecord) -> String {
    let verdict = verdict(record, true);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>loadgauge: {verdict}</title>\n<style>\n{STYLE}</style>\n<h1>loadgauge: {verdict}</h1>\n"
    );
    if let Some(end) = record.end {
        let counts = end.counts;
        let _ = writeln!(
            page,
            "<p>{} passed, {} flaky, {} failed, {} broken, {} skipped in {}{}</p>",
            counts.passed,
            counts.flaky,
            counts.failed,
            counts.broken,
            counts.skipped,
            duration(end.duration_ms),
            if end.interrupted { ", interrupted" } else { "" }
        );
    } else {
        page.push_str("<p>The run ended before its last event; what follows is incomplete.</p>\n");
    }
    if let Some(start) = &record.start {
        let _ =
            writeln!(page, "<p class=\"dim\">{}<br>{}", text(&start.image_name), text(start.image.as_str()));
        let _ = writeln!(page, "<br>{}", text(&machines(start.jobs, &start.acceleration)));
        if let Some(seed) = start.seed {
            let _ = writeln!(page, "<br>order shuffled by --seed {seed}");
        }
        let _ = writeln!(page, "<br>loadgauge {}</p>", text(&start.version));
    }
    let base = record.start.as_ref().map(|start| start.directory.as_path());
    for scenario in &record.scenarios {
        section(&mut page, scenario, base);
    }
    page
}

fn section(page: &mut String, scenario: &ScenarioRecord, base: Option<&Utf8Path>) {
    let outcome = scenario.outcome.unwrap_or(Outcome::Broken);
    let open = if matches!(outcome, Outcome::Passed | Outcome::Skipped) { "" } else { " open" };
    let _ = writeln!(
        page,
        "<details{open}><summary><b class=\"{outcome}\">{outcome}</b> {} <span class=\"dim\">{}</span></summary>",
        text(&scenario.scenario),
        duration(scenario.duration_ms)
    );
    let _ = writeln!(page, "<p>{}</p>", text(&scenario.summary));
    if outcome != Outcome::Passed {
        let _ = writeln!(page, "<p>{}</p>", text(&reason(scenario)));
    }
    for attempt in &scenario.earlier {
        let _ = writeln!(
            page,
            "<details><summary>attempt {}: <b class=\"{1}\">{1}</b></summary>",
            attempt.attempt, attempt.outcome
        );
        ending(page, attempt.cause.as_ref());
        records(page, attempt.directory.as_deref(), &scenario.machines, base);
        steps(page, &attempt.steps, attempt.directory.as_deref(), base);
        page.push_str("</details>\n");
    }
    ending(page, scenario.cause.as_ref());
    records(page, scenario.directory.as_deref(), &scenario.machines, base);
    for kept in &scenario.kept {
        let (name, ssh) = (text(&kept.name), text(&kept.ssh));
        let _ =
            writeln!(page, "<p>its machine was kept as {name}:</p><pre>{ssh}\nloadgauge stop {name}</pre>");
    }
    steps(page, &scenario.steps, scenario.directory.as_deref(), base);
    page.push_str("</details>\n");
}

/// What ended a scenario early, with the console's lines that say so.
fn ending(page: &mut String, cause: Option<&Cause>) {
    let Some(cause) = cause else { return };
    let _ = writeln!(page, "<p><b>{}</b></p>", text(&cause.message));
    if let Some(hint) = &cause.hint {
        let _ = writeln!(page, "<p>hint: {}</p>", text(hint));
    }
    quote(page, &cause.fault.as_ref().map(|fault| fault.console().join("\n")).unwrap_or_default());
}

/// Links what is kept of the only machine, or of each of several.
fn records(page: &mut String, directory: Option<&Utf8Path>, machines: &[String], base: Option<&Utf8Path>) {
    let Some(directory) = directory else { return };
    let mut paragraph = |directory: &Utf8Path, whose: &str| {
        let links: Vec<String> =
            RECORDS.iter().map(|(file, name)| link(&directory.join(file), base, name)).collect();
        let _ = writeln!(page, "<p>{whose}{}</p>", links.join(" · "));
    };
    if machines.is_empty() {
        paragraph(directory, "");
    }
    for machine in machines {
        paragraph(&directory.join(machine), &format!("{}: ", text(machine)));
    }
}

fn steps(page: &mut String, steps: &[StepRecord], directory: Option<&Utf8Path>, base: Option<&Utf8Path>) {
    page.push_str("<ol>\n");
    for step in steps {
        let _ = writeln!(
            page,
            "<li><b class=\"{0}\">{0}</b> {1} <span class=\"dim\">{2}</span>",
            step.outcome,
            text(&step.summary),
            duration(step.duration_ms)
        );
        if let (Some(finding), true) = (&step.finding, step.outcome != Outcome::Passed) {
            found(page, finding);
        }
        let asked = step.finding.as_ref().is_some_and(|finding| !finding.commands.is_empty());
        if let (Some(directory), true) = (directory, asked) {
            let file = directory.join(commands_file(step.step, &step.summary));
            let _ = writeln!(page, "<br>{}", link(&file, base, "commands"));
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ol>\n");
}

fn found(page: &mut String, finding: &Finding) {
    page.push_str("<dl>\n");
    let hint = finding.hint.as_deref().unwrap_or_default();
    for (name, said) in [("expected", finding.expected.as_str()), ("found", &finding.found), ("hint", hint)] {
        if !said.is_empty() {
            let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", text(said).replace('\n', "<br>"));
        }
    }
    page.push_str("</dl>\n");
    if let Some(command) = finding.commands.last() {
        let output = format!("{}{}", command.stdout, command.stderr);
        quote(page, &format!("$ {}  ({})\n{output}", command.command.trim_end(), command.exit));
    }
}

fn quote(page: &mut String, words: &str) {
    if words.trim().is_empty() {
        return;
    }
    // The whole of it lies beside the page; a guest may have printed megabytes.
    let excerpt = Excerpt::of(words.trim_end());
    let mut lines: Vec<String> = excerpt.head.iter().map(|line| text(line)).collect();
    if excerpt.left_out > 0 {
        lines.push(format!("<i>... {} left out</i>", plural(excerpt.left_out, "line")));
    }
    lines.extend(excerpt.tail.iter().map(|line| text(line)));
    let _ = writeln!(page, "<pre>{}</pre>", lines.join("\n"));
}

/// A link to a file of the run, so that it works where the whole directory was copied to.
fn link(file: &Utf8Path, base: Option<&Utf8Path>, name: &str) -> String {
    let beside = base.and_then(|base| file.strip_prefix(base).ok()).unwrap_or(file);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    let target = beside.as_str().bytes().fold(String::new(), |mut target, byte| {
        if plain(byte) {
            target.push(char::from(byte));
        } else {
            let _ = write!(target, "%{byte:02X}");
        }
        target
    });
    format!("<a href=\"{target}\">{name}</a>")
}

/// Foreign text: it is shown, and does nothing.
fn text(text: &str) -> String {
    let text = visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::testing;

    fn html(events: &[Event]) -> String {
        let mut record = RunRecord::default();
        for event in events {
            record.take(event);
        }
        page(&record)
    }

    #[test]
    fn a_run_of_everything() {
        let page = html(&testing::run_of_everything()).replace(STYLE, "STYLE\n");
        insta::assert_snapshot!(page);
    }

    #[test]
    fn it_needs_nothing_else_and_links_what_lies_beside_it() {
        let page = html(&testing::flaky_run());
        assert!(
            !page.contains("http://") && !page.contains("https://") && !page.contains("<script"),
            "{page}"
        );
        assert!(page.contains("<a href=\"docker.vendor/attempt-2/console.log\">console</a>"), "{page}");
        assert!(page.contains("attempt 1: <b class=\"failed\">failed</b>"), "{page}");
        assert_eq!(link("runs/1/a@2/x".into(), Some("runs/1".into()), "x"), "<a href=\"a%402/x\">x</a>");
    }

    proptest! {
        #[test]
        fn hostile_text_is_no_markup(hostile in "[<>&\"'a-z/=!-]{0,40}") {
            let marker = format!("<script>{hostile}");
            let mut events = testing::run_of_everything();
            for event in &mut events {
                testing::replace_texts(event, &marker);
            }
            prop_assert!(!html(&events).contains("<script"));
        }
    }
}
