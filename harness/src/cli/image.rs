// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;

use camino::Utf8Path;
use loadgauge_host::Store;

use super::context::made_releases;
use super::{Exit, Failure, image_prune, output};

/// `loadgauge image list`
pub(super) fn list() -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let mut text = String::new();
    for (release, directory) in made_releases(&store) {
        let (release, era) = (release.to_string(), release.era().to_string());
        let (size, made) = told_of(&directory);
        let _ = writeln!(text, "{release:<12} {era:<7} {size:>9}  {made}  {directory}");
    }
    output::print(&text)?;
    if text.is_empty() {
        output::tell("no image was made here yet: loadgauge image build");
    }
    if let Some(kept) = image_prune::kept(&store)? {
        output::tell(&format!("kept of images besides: {kept}; `loadgauge image prune` removes it"));
    }
    Ok(Exit::Passed)
}

/// How much room the files of an image take, and when it was made.
fn told_of(directory: &Utf8Path) -> (String, String) {
    let mut bytes = 0;
    let files = walkdir::WalkDir::new(directory).into_iter().flatten();
    for metadata in files.filter_map(|file| file.metadata().ok()).filter(Metadata::is_file) {
        bytes += metadata.blocks() * 512;
    }
    let made = fs::metadata(directory).and_then(|metadata| metadata.modified());
    let made = made.map(|time| humantime::format_rfc3339_seconds(time).to_string());
    (loadgauge_host::quantity::format_size(bytes), made.unwrap_or_else(|_| "unknown".to_owned()))
}
