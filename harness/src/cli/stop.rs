// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use clap::Args;
use loadgauge_host::Store;

use super::{Exit, Failure, output};
use crate::runner::Registry;

/// Arguments of `loadgauge stop`.
#[derive(Debug, Args)]
pub(super) struct StopArguments {
    /// Names of machines, as `--list` prints them
    #[arg(value_name = "NAME", required_unless_present_any = ["all", "list"])]
    names: Vec<String>,
    /// Stop every machine
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// List the machines with their SSH commands and stop none
    #[arg(long, conflicts_with_all = ["names", "all"])]
    list: bool,
}

/// Stops machines that were left running.
pub(super) fn run(arguments: &StopArguments) -> Result<Exit, Failure> {
    let registry = Registry::of(&Store::of_user()?);
    if arguments.list {
        let table = registry.list()?.into_iter().fold(String::new(), |mut text, machine| {
            let _ = writeln!(text, "{}\n  {}\n  files in {}", machine.name, machine.ssh, machine.directory);
            text
        });
        return output::print(&table).map(|()| Exit::Passed);
    }
    let names = if arguments.all {
        registry.list()?.into_iter().map(|machine| machine.name).collect()
    } else {
        arguments.names.clone()
    };
    for name in names {
        registry.stop(&name)?;
        output::message(&format!("{name}: stopped"));
    }
    Ok(Exit::Passed)
}
