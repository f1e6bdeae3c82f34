// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;

use super::{JUnit, JsonLines, Report, ReportError, ScenarioFiles, Terminal, TerminalOptions, TimingsReport};
use crate::runner::Timings;

/// The reports of every run, in the order in which they are to be given to [`super::consume`]: the
/// events first, from which the others can be made again, and the terminal last.
///
/// # Errors
/// The file of the events cannot be created. The others are made later.
pub fn standard(
    events: &Utf8Path,
    junit: &Utf8Path,
    timings: Timings,
    mut terminal: TerminalOptions,
) -> Result<Vec<Box<dyn Report>>, ReportError> {
    terminal.reports = vec![events.to_owned(), junit.to_owned()];
    Ok(vec![
        Box::new(JsonLines::create(events)?),
        Box::new(ScenarioFiles::new()),
        Box::new(JUnit::new(junit)),
        Box::new(TimingsReport::new(timings)),
        Box::new(Terminal::on_stderr(terminal)),
    ])
}
