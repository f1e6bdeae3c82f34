// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::Utf8Path;
use loadgauge_host::FileError;
use loadgauge_images::OsRelease;
use loadgauge_images::extension_image::{ExtensionImage, releases_of_directory};

use super::error::ImageError;
use super::other_format::OtherFormat;

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
    let scratch =
        tempfile::tempdir().map_err(FileError::at("create a directory in", std::env::temp_dir()))?;
    let scratch = Utf8Path::from_path(scratch.path())
        .ok_or_else(|| FileError::at("use", scratch.path())(std::io::ErrorKind::InvalidFilename.into()))?;
    let name = image.file_name().unwrap_or_default();
    let opened = ExtensionImage::open(image, &scratch.join("partition")).map_err(|source| {
        let found = OtherFormat::of_file(image);
        ImageError::Open { image: name.to_owned(), found, source: Box::new(source) }
    })?;
    opened
        .releases(&scratch.join("root"))
        .map_err(|source| ImageError::Extract { image: name.to_owned(), source })
}
