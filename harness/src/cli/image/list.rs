// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use loadgauge_host::quantity::format_size;
use loadgauge_host::{Store, fs};
use loadgauge_images::Release;
use serde::Serialize;

use super::prune;
use crate::cli::format_choice::FormatChoice;
use crate::cli::{Exit, Failure, built_images, output};

/// Arguments of `loadgauge image list`.
#[derive(Debug, Args)]
pub(crate) struct ImageListArguments {
    #[command(flatten)]
    format: FormatChoice,
}

/// An image that was built on this host.
#[derive(Debug, Serialize)]
struct BuiltImage {
    release: String,
    era: String,
    /// the disk space of the directory in bytes
    size: u64,
    /// the time of the build (RFC 3339), or `unknown`
    built: String,
    directory: Utf8PathBuf,
}

/// Lists the images that were built on this host.
pub(super) fn run(arguments: &ImageListArguments) -> Result<Exit, Failure> {
    let store = Store::of_user()?;
    let describe = |(release, directory): (Release, Utf8PathBuf)| BuiltImage {
        release: release.to_string(),
        era: release.era().to_string(),
        size: disk_usage(&directory),
        built: time_of(&directory),
        directory,
    };
    let images: Vec<BuiltImage> = built_images::releases(&store).into_iter().map(describe).collect();
    arguments.format.print(&images, || text(&images))?;
    if images.is_empty() {
        output::message("no image was built on this host yet; build one with `loadgauge image build`");
    }
    if let Some(cached) = prune::cached(&store)? {
        output::message(&format!(
            "cached data of other images: {cached}; `loadgauge image prune` removes it"
        ));
    }
    Ok(Exit::Passed)
}

/// A line for each image.
fn text(images: &[BuiltImage]) -> String {
    images.iter().fold(String::new(), |mut text, image| {
        let BuiltImage { release, era, built, directory, .. } = image;
        let _ = writeln!(text, "{release:<12} {era:<7} {:>9}  {built}  {directory}", format_size(image.size));
        text
    })
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
