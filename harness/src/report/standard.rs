// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};

use super::{
    GitHub, Html, JUnit, JsonLines, Report, ReportError, ScenarioFiles, Tap, Terminal, TerminalOptions,
    TimingsReport,
};
use crate::runner::Timings;

/// The name of the file of the events.
pub const EVENTS: &str = "events.jsonl";

/// The reports of every run, in the order in which they are to be given to [`super::consume`]: the
/// events first, from which the others can be made again, and the terminal last. Within a workflow
/// of GitHub, its own are among them.
///
/// # Errors
/// The file of the events cannot be created. The others are made later.
pub fn standard(
    directory: &Utf8Path,
    timings: Timings,
    mut terminal: TerminalOptions,
) -> Result<Vec<Box<dyn Report>>, ReportError> {
    let events = directory.join(EVENTS);
    let (files, paths) = from_events(directory);
    let mut reports: Vec<Box<dyn Report>> =
        vec![Box::new(JsonLines::create(&events)?), Box::new(ScenarioFiles::new())];
    reports.extend(files);
    reports.push(Box::new(TimingsReport::new(timings)));
    if let Some(github) = GitHub::of_environment() {
        reports.push(Box::new(github));
    }
    terminal.reports = std::iter::once(events).chain(paths).collect();
    reports.push(Box::new(Terminal::on_stderr(terminal)));
    Ok(reports)
}

/// The files that can be made again from the events of a run: the reports, and where they are
/// written.
pub fn from_events(directory: &Utf8Path) -> (Vec<Box<dyn Report>>, Vec<Utf8PathBuf>) {
    let paths = ["report.html", "junit.xml", "report.tap"].map(|name| directory.join(name));
    let [html, junit, tap] = &paths;
    let reports: Vec<Box<dyn Report>> =
        vec![Box::new(Html::new(html)), Box::new(JUnit::new(junit)), Box::new(Tap::new(tap))];
    (reports, paths.to_vec())
}
