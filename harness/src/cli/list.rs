// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use clap::Args;
use loadgauge_host::Store;
use serde::Serialize;

use super::format_choice::FormatChoice;
use super::selection::Selection;
use super::{Exit, Failure};
use crate::scenario::Scenario;

/// Arguments of `loadgauge list`.
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    format: FormatChoice,
}

/// A scenario as `--format json` prints it.
#[derive(Serialize)]
struct ListedScenario<'a> {
    name: &'a str,
    summary: &'a str,
    tags: &'a [String],
    file: Option<&'a str>,
}

impl<'a> From<&'a Scenario> for ListedScenario<'a> {
    fn from(Scenario { name, summary, tags, file, .. }: &'a Scenario) -> Self {
        Self { name, summary, tags, file: file.as_ref().map(|file| file.as_str()) }
    }
}

/// Lists scenarios.
pub(super) fn run(arguments: &ListArguments) -> Result<Exit, Failure> {
    let scenarios = arguments.selection.scenarios(&Store::of_user()?)?;
    let listed: Vec<ListedScenario<'_>> = scenarios.iter().map(ListedScenario::from).collect();
    arguments.format.print(&listed, || table(&listed))?;
    Ok(Exit::Passed)
}

fn table(scenarios: &[ListedScenario<'_>]) -> String {
    let width = scenarios.iter().map(|scenario| scenario.name.len()).max().unwrap_or_default();
    scenarios.iter().fold(String::new(), |mut text, ListedScenario { name, summary, .. }| {
        let _ = writeln!(text, "{name:<width$}  {summary}");
        text
    })
}
