// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use clap::Args;
use loadgauge_host::fs;

use super::{Exit, Failure, output};
use crate::report::{EVENTS, Terminal, TerminalOptions, from_events, json_lines, replay};

/// Arguments of `loadgauge report`.
#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// Directory of the run
    #[arg(default_value = "loadgauge-runs/latest")]
    run: Utf8PathBuf,
    /// Directory for the reports [default: that of the run]
    #[arg(short, long, value_name = "DIR")]
    output: Option<Utf8PathBuf>,
}

/// Writes the reports of a run again.
pub(super) fn run(arguments: &ReportArguments) -> Result<Exit, Failure> {
    let events = json_lines::read(&arguments.run.join(EVENTS))?;
    let directory = arguments.output.as_ref().unwrap_or(&arguments.run);
    fs::create_dir_all(directory)?;
    let (mut reports, paths) = from_events(directory);
    let mut terminal = TerminalOptions::of_stderr();
    terminal.reports.clone_from(&paths);
    reports.push(Box::new(Terminal::on_stderr(terminal)));
    let errors = replay(&events, reports).err().unwrap_or_default();
    if let Some(failure) = Failure::merge(errors.into_iter().map(Failure::from)) {
        return Err(failure);
    }
    for path in paths {
        output::print(&format!("{path}\n"))?;
    }
    Ok(Exit::Passed)
}
