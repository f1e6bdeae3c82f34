// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};

use super::rendered_file::{Render, RenderedFile};
use super::{
    GitHub, JsonLines, Report, ReportError, ScenarioFiles, Terminal, TerminalOptions, TimingsReport, html,
    junit, tap,
};
use crate::runner::Timings;

/// The name of the file of the events.
pub(crate) const EVENTS: &str = "events.jsonl";
/// The files that are rendered from the record of a whole run.
const RENDERED: [(&str, Render); 3] = [
    ("report.html", |record| Ok(html::render(record))),
    ("junit.xml", junit::render),
    ("report.tap", |record| Ok(tap::render(record))),
];

/// The reports of every run, in the order for [`super::consume`]: the events first, from which the others
/// can be made again, and the terminal last. Within GitHub Actions they include annotations.
///
/// # Errors
/// The file of the events cannot be created. The other files are created later.
pub(crate) fn standard(
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

/// The reports that can be made again from the events of a run, and the paths of their files.
pub(crate) fn from_events(directory: &Utf8Path) -> (Vec<Box<dyn Report>>, Vec<Utf8PathBuf>) {
    let files = RENDERED.map(|(name, render)| (directory.join(name), render));
    let paths = files.iter().map(|(path, _)| path.clone()).collect();
    let reports = files.map(|(path, render)| Box::new(RenderedFile::new(path, render)) as Box<dyn Report>);
    (reports.into(), paths)
}
