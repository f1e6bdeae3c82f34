// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use loadgauge_host::Store;
use loadgauge_host::quantity::{format_size, parse_size};

use super::format_choice::FormatChoice;
use super::{Exit, Failure, output};
use crate::machine::{SnapshotEntry, Snapshots};

/// The subcommands of `loadgauge snapshot`.
#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// List the snapshots of booted machines, the most recently used first
    List {
        #[command(flatten)]
        format: FormatChoice,
    },
    /// Remove snapshots that are not in use, the least recently used first
    Prune {
        /// Total size of the snapshots to keep, such as `4GiB`
        #[arg(long, value_name = "SIZE", default_value = "0", value_parser = parse_size)]
        keep: u64,
    },
}

/// Lists or prunes snapshots.
pub(super) fn run(command: &SnapshotCommand) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    match command {
        SnapshotCommand::List { format } => {
            let entries = Snapshots::in_store(&store, u64::MAX).list()?;
            format.print(&entries, || table(&entries, SystemTime::now()))?;
        }
        SnapshotCommand::Prune { keep } => {
            let snapshots = Snapshots::in_store(&store, *keep);
            let removed = snapshots.trim()?;
            let size = removed.iter().map(|entry| entry.size).sum();
            let count = removed.len();
            let plural = if count == 1 { "" } else { "s" };
            output::message(&format!("removed {count} snapshot{plural} ({})", format_size(size)));
            for entry in snapshots.list()?.iter().filter(|entry| entry.in_use) {
                output::message(&format!("kept {}: in use", entry.path));
            }
        }
    }
    Ok(Exit::Passed)
}

/// One line for each snapshot.
fn table(entries: &[SnapshotEntry], now: SystemTime) -> String {
    entries.iter().fold(String::new(), |mut text, entry| {
        let state = if entry.in_use { "in use" } else { "" };
        let machine = entry.snapshot.as_ref().map_or_else(
            || "cannot be used any more".to_owned(),
            |snapshot| format!("{} MiB of memory, {}", snapshot.memory_mib, snapshot.image),
        );
        let (key, size) = (&entry.key[..entry.key.len().min(16)], format_size(entry.size));
        let _ = writeln!(text, "{key:<16}  {size:>10}  {:>8}  {state:<6}  {machine}", age(entry.used, now));
        text
    })
}

/// How long ago something was used, in the largest whole unit.
fn age(used: u64, now: SystemTime) -> String {
    let used = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
    let seconds = now.duration_since(used).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}min ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_snapshot_has_a_line() {
        let entry = SnapshotEntry {
            key: "0123456789abcdef0123".to_owned(),
            path: "/store/snapshot/0123456789abcdef0123".into(),
            size: 320 << 20,
            used: 1_000,
            in_use: true,
            snapshot: None,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + 7_300);
        assert_eq!(
            table(&[entry], now),
            "0123456789abcdef   320.0 MiB    2h ago  in use  cannot be used any more\n"
        );
        assert_eq!(age(1_000, SystemTime::UNIX_EPOCH), "0s ago", "a clock that was set back");
    }
}
