// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::Utf8Path;
use loadgauge_host::Scratch;
use loadgauge_images::OsRelease;
use loadgauge_images::extension_image::{ExtensionImage, releases_of_directory};

use super::error::ImageError;

/// Reads the extension-release files of an existing extension, an image or a directory, by the names of
/// the extensions that they are for. A sound extension has one, with the name of its file. Files that
/// cannot be parsed are left out.
///
/// # Errors
/// It is not an image of an extension, or the host lacks a program to extract it.
pub fn releases(image: &Utf8Path) -> Result<BTreeMap<String, OsRelease>, ImageError> {
    let texts = if image.is_dir() { releases_of_directory(image)? } else { extract(image)? };
    let parsed = texts.into_iter().filter_map(|(name, text)| Some((name, OsRelease::parse(&text).ok()?)));
    Ok(parsed.collect())
}

fn extract(image: &Utf8Path) -> Result<BTreeMap<String, String>, ImageError> {
    let scratch = Scratch::new()?;
    let scratch = scratch.path();
    let name = image.file_name().unwrap_or_default();
    let opened = ExtensionImage::open(image, &scratch.join("partition"))
        .map_err(|source| ImageError::Open { image: name.to_owned(), source })?;
    opened
        .releases(&scratch.join("root"))
        .map_err(|source| ImageError::Extract { image: name.to_owned(), source })
}
