// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use loadgauge_host::Store;
use serde::Serialize;

use super::arguments::{ListArguments, OutputFormat};
use super::context::catalogue;
use super::{Exit, Failure, output};
use crate::scenario::{Scenario, select};

/// A scenario as `list --format json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    summary: &'a str,
    tags: &'a [String],
    file: &'a str,
}

/// `loadgauge list`
pub(super) fn list(arguments: &ListArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let catalogue = catalogue(arguments.selection.scenarios.as_deref(), &store)?;
    let scenarios = select(&catalogue, &arguments.selection.patterns)?;
    match arguments.format {
        OutputFormat::Json => output::print_json(&scenarios.iter().map(line).collect::<Vec<_>>())?,
        OutputFormat::Text => output::print(&table(&scenarios))?,
    }
    Ok(Exit::Passed)
}

fn line(scenario: &Scenario) -> Line<'_> {
    let Scenario { name, summary, tags, file, .. } = scenario;
    Line { name, summary, tags, file: file.as_str() }
}

fn table(scenarios: &[Scenario]) -> String {
    let width = scenarios.iter().map(|scenario| scenario.name.len()).max().unwrap_or_default();
    scenarios.iter().fold(String::new(), |mut text, Scenario { name, summary, .. }| {
        let _ = writeln!(text, "{name:<width$}  {summary}");
        text
    })
}
