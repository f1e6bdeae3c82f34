// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use loadgauge_host::Store;

use super::arguments::OutputFormat;
use super::{Exit, Failure, output};
use crate::machine::{SnapshotEntry, Snapshots};
use loadgauge_host::quantity::parse_size;

/// `loadgauge snapshot`
#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// List the snapshots of booted machines, the one used last first
    List {
        /// How it is printed
        #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
        format: OutputFormat,
    },
    /// Remove snapshots, those used longest ago first; those in use stay
    Prune {
        /// How much of them to keep, such as `4GiB`
        #[arg(long, value_name = "SIZE", default_value = "0", value_parser = parse_size)]
        keep: u64,
    },
}

/// `loadgauge snapshot`
pub(super) fn snapshot(command: &SnapshotCommand) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    match command {
        SnapshotCommand::List { format } => {
            let entries = Snapshots::in_store(&store, u64::MAX).list()?;
            match format {
                OutputFormat::Json => output::print_json(&entries)?,
                OutputFormat::Text => output::print(&table(&entries, SystemTime::now()))?,
            }
        }
        SnapshotCommand::Prune { keep } => {
            let snapshots = Snapshots::in_store(&store, *keep);
            let removed = snapshots.trim()?;
            let size: u64 = removed.iter().map(|entry| entry.size).sum();
            output::tell(&format!("removed {} snapshots, {}", removed.len(), mebibytes(size)));
            for left in snapshots.list()?.iter().filter(|entry| entry.in_use) {
                output::tell(&format!("{} is in use and stays", left.path));
            }
        }
    }
    Ok(Exit::Passed)
}

/// A snapshot a line.
pub(super) fn table(entries: &[SnapshotEntry], now: SystemTime) -> String {
    entries.iter().fold(String::new(), |mut text, entry| {
        let state = if entry.in_use { "in use" } else { "" };
        let what = entry.snapshot.as_ref().map_or_else(
            || "of no use any more".to_owned(),
            |snapshot| format!("{} MiB, {}", snapshot.memory_mib, snapshot.image),
        );
        let (key, size) = (&entry.key[..entry.key.len().min(16)], mebibytes(entry.size));
        let _ = writeln!(text, "{key:<16}  {size:>9}  {:>8}  {state:<6}  {what}", age(entry.used, now));
        text
    })
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
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
    fn a_snapshot_is_a_line() {
        let entry = SnapshotEntry {
            key: "0123456789abcdef0123".to_owned(),
            path: "/store/snapshot/0123456789abcdef0123".into(),
            size: 320 << 20,
            used: 1_000,
            in_use: true,
            snapshot: None,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + 7_300);
        let lines = table(&[entry], now);
        assert_eq!(lines, "0123456789abcdef    320 MiB    2h ago  in use  of no use any more\n");
        assert_eq!(age(1_000, SystemTime::UNIX_EPOCH), "0s ago", "a clock that was set back");
    }
}
