// SPDX-License-Identifier: Apache-2.0
//! The images that were built on this host, which the store finds by their release.
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Store, fs};
use loadgauge_images::{Image, Release};

use super::{Exit, Failure};

/// Name of the link in the store to the image that was built last.
const LAST: &str = "last-image";
/// Name of the directory in the store with a link for each release.
const RELEASES: &str = "releases";
/// The hint for a host without an image.
pub(super) const HOW_TO_GET_ONE: &str =
    "build a stand-in with `loadgauge image build`, or name a Flatcar disk with --image";

/// Finds an image by its path or its release, or else the one that was built last.
pub(super) fn find(image: Option<&Utf8Path>, store: &Store) -> Result<Utf8PathBuf, Failure> {
    let Some(image) = image else {
        return last(store)
            .ok_or_else(|| Failure::new(Exit::Host, "there is no image to boot").with_hint(HOW_TO_GET_ONE));
    };
    if image.exists() {
        return Ok(image.to_owned());
    }
    match of_release(image.as_str(), store) {
        Some(built) => Ok(built),
        None if is_release(image.as_str()) => Err(not_built(image.as_str(), store)),
        None => Ok(image.to_owned()),
    }
}

/// The directory of the image that was built last.
pub(super) fn last(store: &Store) -> Option<Utf8PathBuf> {
    store.root().join(LAST).canonicalize_utf8().ok()
}

/// Makes an image the one to boot where none is named.
pub(super) fn remember_last(image: &Image, store: &Store) -> Result<(), Failure> {
    link(&store.root().join(LAST), image)
}

/// Makes an image the one of its release.
pub(super) fn remember_release(release: Release, image: &Image, store: &Store) -> Result<(), Failure> {
    let directory = store.root().join(RELEASES);
    fs::create_dir_all(&directory)?;
    link(&directory.join(release.to_string()), image)
}

/// The releases for which images were built, oldest first, with the directories of the images.
pub(super) fn releases(store: &Store) -> Vec<(Release, Utf8PathBuf)> {
    let Ok(entries) = store.root().join(RELEASES).read_dir_utf8() else { return Vec::new() };
    let mut releases: Vec<(Release, Utf8PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().parse().ok()?, entry.path().canonicalize_utf8().ok()?)))
        .collect();
    releases.sort();
    releases
}

/// The image that was built for a release, which is a version or `CHANNEL-MAJOR`.
fn of_release(name: &str, store: &Store) -> Option<Utf8PathBuf> {
    let matches = |release: &Release| {
        let (channel, major) = (release.channel(), release.major);
        release.to_string() == name || channel.is_some_and(|channel| format!("{channel}-{major}") == name)
    };
    releases(store).into_iter().find(|(release, _)| matches(release)).map(|(_, path)| path)
}

/// Whether a text has the form of a release: a version or `CHANNEL-MAJOR`.
fn is_release(name: &str) -> bool {
    let major =
        name.split_once('-').filter(|(channel, _)| ["alpha", "beta", "stable", "lts"].contains(channel));
    name.parse::<Release>().is_ok() || major.is_some_and(|(_, major)| major.parse::<u32>().is_ok())
}

/// The failure for a release without an image; its hint lists those that have one.
fn not_built(name: &str, store: &Store) -> Failure {
    let built: Vec<String> = releases(store).iter().map(|(release, _)| release.to_string()).collect();
    let hint = match built.as_slice() {
        [] => HOW_TO_GET_ONE.to_owned(),
        built => {
            format!("use one of {}, or build one with `loadgauge image build --release`", built.join(", "))
        }
    };
    Failure::new(Exit::Host, format!("no image of release `{name}` was built on this host")).with_hint(hint)
}

/// Creates or replaces a link to the directory of an image.
fn link(link: &Utf8Path, image: &Image) -> Result<(), Failure> {
    let new = Utf8PathBuf::from(format!("{link}.{}", std::process::id()));
    fs::symlink(directory(image), &new)?;
    Ok(fs::rename(&new, link)?)
}

/// The directory of an image.
pub(super) fn directory(image: &Image) -> &Utf8Path {
    image.disk.parent().unwrap_or(Utf8Path::new("/"))
}
