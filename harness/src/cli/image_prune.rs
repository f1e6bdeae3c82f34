// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use clap::Args;
use loadgauge_host::{Bounds, Store, StoredEntry};

use super::{Exit, Failure, output};
use loadgauge_host::quantity::parse_size;

/// What is kept of images beside those that were made here, and what one of each is called.
const KINDS: [(&str, &str); 3] =
    [("unpacked", "unpacked disk"), ("inspection", "inspection"), ("digest", "digest")];

/// `loadgauge image prune`
#[derive(Debug, Args)]
pub(super) struct ImagePruneArguments {
    /// How much of it to keep, such as `20GiB`
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = parse_size)]
    keep: u64,
    /// Keep what was used within this time, such as `30d`
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    unused_for: Duration,
}

/// `loadgauge image prune`
pub(super) fn prune(arguments: &ImagePruneArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let bounds = Bounds { size: arguments.keep, age: arguments.unused_for };
    let removed = store.prune(&KINDS.map(|(kind, _)| kind), bounds)?;
    output::tell(&format!("removed {}", told(&removed).unwrap_or_else(|| "nothing".to_owned())));
    if let Some(left) = kept(&store)? {
        output::tell(&format!("kept {left}"));
    }
    Ok(Exit::Passed)
}

/// In words, what is kept of images; nothing where there is nothing.
pub(super) fn kept(store: &Store) -> Result<Option<String>, Failure> {
    Ok(told(&store.kept(&KINDS.map(|(kind, _)| kind))?))
}

/// How many of each kind there are, and how much room they take.
fn told(entries: &[StoredEntry]) -> Option<String> {
    let mut parts = Vec::new();
    for (kind, name) in KINDS {
        let sizes: Vec<u64> =
            entries.iter().filter(|entry| entry.kind == kind).map(|entry| entry.size).collect();
        if !sizes.is_empty() {
            let plural = if sizes.len() == 1 { "" } else { "s" };
            parts.push(format!(
                "{} {name}{plural} ({})",
                sizes.len(),
                loadgauge_host::quantity::format_size(sizes.iter().sum())
            ));
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}
