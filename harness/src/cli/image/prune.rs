// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use clap::Args;
use loadgauge_host::quantity::{format_size, parse_size};
use loadgauge_host::{Bounds, Store, StoredEntry};

use crate::cli::{Exit, Failure, output};

/// The kinds of entries in the store that hold cached data of images, with what one is called.
const KINDS: [(&str, &str); 3] =
    [("unpacked", "unpacked disk"), ("inspection", "inspection"), ("digest", "digest")];

/// Arguments of `loadgauge image prune`.
#[derive(Debug, Args)]
pub(crate) struct ImagePruneArguments {
    /// Amount of data to keep, such as `20GiB`
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = parse_size)]
    keep: u64,
    /// Keep data that was used within this time, such as `30d`
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    unused_for: Duration,
}

/// Removes cached data of images.
pub(super) fn run(arguments: &ImagePruneArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let bounds = Bounds { size: arguments.keep, age: arguments.unused_for };
    let removed = store.prune(&KINDS.map(|(kind, _)| kind), bounds)?;
    output::message(&format!("removed {}", count(&removed).unwrap_or_else(|| "nothing".to_owned())));
    if let Some(kept) = cached(&store)? {
        output::message(&format!("kept {kept}"));
    }
    Ok(Exit::Passed)
}

/// The number and size of the cached data of images, by kind, or `None` where there is none.
pub(super) fn cached(store: &Store) -> Result<Option<String>, Failure> {
    Ok(count(&store.list(&KINDS.map(|(kind, _)| kind))?))
}

/// The number and size of entries by kind: `2 digests (300 B)`.
fn count(entries: &[StoredEntry]) -> Option<String> {
    let mut parts = Vec::new();
    for (kind, name) in KINDS {
        let sizes: Vec<u64> =
            entries.iter().filter(|entry| entry.kind == kind).map(|entry| entry.size).collect();
        if !sizes.is_empty() {
            let plural = if sizes.len() == 1 { "" } else { "s" };
            parts.push(format!("{} {name}{plural} ({})", sizes.len(), format_size(sizes.iter().sum())));
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}
