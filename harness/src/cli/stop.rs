// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use clap::Args;
use loadgauge_host::Store;

use super::{Exit, Failure, output};
use crate::runner::Registry;

/// `loadgauge stop`
#[derive(Debug, Args)]
pub(super) struct StopArguments {
    /// The names under which machines were kept
    #[arg(value_name = "NAME", required_unless_present_any = ["all", "list"])]
    names: Vec<String>,
    /// Stop all of them
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Stop none, and print the names and how to get in
    #[arg(long, conflicts_with_all = ["names", "all"])]
    list: bool,
}

/// `loadgauge stop`
pub(super) fn stop(arguments: &StopArguments) -> Result<Exit, Failure> {
    let registry = Registry::of(&Store::of_user()?);
    if arguments.list {
        let table = registry.list()?.into_iter().fold(String::new(), |mut text, entry| {
            let _ = writeln!(text, "{}\n  {}\n  files in {}", entry.name, entry.ssh, entry.directory);
            text
        });
        return output::print(&table).map(|()| Exit::Passed);
    }
    let names = if arguments.all {
        registry.list()?.into_iter().map(|entry| entry.name).collect()
    } else {
        arguments.names.clone()
    };
    for name in names {
        registry.stop(&name)?;
        output::tell(&format!("{name}: stopped"));
    }
    Ok(Exit::Passed)
}
