// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use camino::Utf8Path;
use loadgauge_host::quantity::format_size;
use loadgauge_host::{Store, fs};

use super::prune;
use crate::cli::{Exit, Failure, built_images, output};

/// Lists the images that were built on this host.
pub(super) fn run() -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let mut text = String::new();
    for (release, directory) in built_images::releases(&store) {
        let (release, era) = (release.to_string(), release.era().to_string());
        let (size, built) = (format_size(disk_usage(&directory)), time_of(&directory));
        let _ = writeln!(text, "{release:<12} {era:<7} {size:>9}  {built}  {directory}");
    }
    output::print(&text)?;
    if text.is_empty() {
        output::message("no image was built on this host yet; build one with `loadgauge image build`");
    }
    if let Some(cached) = prune::cached(&store)? {
        output::message(&format!(
            "cached data of other images: {cached}; `loadgauge image prune` removes it"
        ));
    }
    Ok(Exit::Passed)
}

/// The bytes that the files of a directory take on the disk.
fn disk_usage(directory: &Utf8Path) -> u64 {
    let files = walkdir::WalkDir::new(directory).into_iter().flatten();
    let files = files.filter_map(|file| file.metadata().ok()).filter(Metadata::is_file);
    files.map(|metadata| metadata.blocks() * 512).sum()
}

/// The time at which a directory was changed, or `unknown`.
fn time_of(directory: &Utf8Path) -> String {
    let time = fs::metadata(directory).ok().and_then(|metadata| metadata.modified().ok());
    time.map_or_else(|| "unknown".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
}
