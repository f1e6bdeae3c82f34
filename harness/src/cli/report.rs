// SPDX-License-Identifier: Apache-2.0
use super::arguments::ReportArguments;
use super::{Exit, Failure, output};
use crate::report::{Terminal, TerminalOptions, from_events, json_lines, replay};

/// `loadgauge report`
pub(super) fn report(arguments: &ReportArguments) -> Result<Exit, Failure> {
    let events = json_lines::read(&arguments.run.join("events.jsonl"))?;
    let directory = arguments.output.as_ref().unwrap_or(&arguments.run);
    std::fs::create_dir_all(directory)
        .map_err(|error| Failure::words(Exit::Host, format!("cannot create `{directory}`: {error}"), None))?;
    let (mut reports, paths) = from_events(directory);
    let mut terminal = TerminalOptions::of_stderr();
    terminal.reports.clone_from(&paths);
    reports.push(Box::new(Terminal::on_stderr(terminal)));
    match replay(&events, reports) {
        Ok(()) => {
            let lines: Vec<&str> = paths.iter().map(|path| path.as_str()).collect();
            output::print(&(lines.join("\n") + "\n")).map(|()| Exit::Passed)
        }
        Err(errors) => Err(report_failure(errors)),
    }
}

/// Reports that could not be written, as one failure.
pub(super) fn report_failure(errors: Vec<crate::report::ReportError>) -> Failure {
    let mut failures = errors.into_iter().map(Failure::from);
    let first = failures.next();
    let first = first.unwrap_or_else(|| Failure::words(Exit::Internal, "a report was not written", None));
    failures.fold(first, |first, next| Failure {
        message: format!("{}\n{}", first.message, next.message),
        ..first
    })
}
