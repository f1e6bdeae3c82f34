// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs;
use std::io;

use camino::Utf8Path;
use loadgauge_images::OsRelease;

use super::source::{ImageError, RELEASES, take_apart};

/// What the names of files that say for whom an extension is begin with.
const PREFIX: &str = "extension-release.";

/// For whom an extension that was built before says it is, by the names that it says it under: one, of a
/// sound extension, and that of its file.
///
/// # Errors
/// It is no image of an extension, or the host lacks the program that takes its format apart.
pub fn releases(image: &Utf8Path) -> Result<BTreeMap<String, OsRelease>, ImageError> {
    let scratch = tempfile::tempdir().map_err(ImageError::io("create a directory for", image))?;
    let directory = Utf8Path::from_path(scratch.path()).ok_or_else(|| {
        ImageError::io("create a directory for", image)(io::ErrorKind::InvalidFilename.into())
    })?;
    let name = image.file_name().unwrap_or_default();
    let (root, under) = if image.is_dir() {
        (image.to_owned(), "")
    } else {
        (directory.join("root"), take_apart(image, name, directory, Some(RELEASES))?.0)
    };
    let place = root.join(Utf8Path::new(RELEASES).strip_prefix(under).unwrap_or(Utf8Path::new(RELEASES)));
    let mut found = BTreeMap::new();
    for entry in place.read_dir_utf8().into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().strip_prefix(PREFIX) else { continue };
        // A link could lead out of the image.
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let text = fs::read_to_string(entry.path()).map_err(ImageError::io("read", entry.path()))?;
        if let Ok(release) = OsRelease::parse(&text) {
            found.insert(name.to_owned(), release);
        }
    }
    Ok(found)
}
