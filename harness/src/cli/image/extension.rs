// SPDX-License-Identifier: Apache-2.0
//! The description of an image of an extension.
use std::collections::BTreeMap;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::quantity::format_size;
use loadgauge_host::{Scratch, fs};
use loadgauge_images::extension_image::{ExtensionImage, ExtensionImageError};
use loadgauge_images::file_system::{FileKind, FileSystem, FileSystemError};
use serde::Serialize;

use crate::cli::{Exit, Failure};

/// What is known of an image of an extension.
#[derive(Debug, Serialize)]
pub(super) struct ExtensionDescription {
    /// the kind of image, which distinguishes it from a disk of Flatcar
    kind: &'static str,
    path: Utf8PathBuf,
    /// the size of the file in bytes
    size: u64,
    file_system: FileSystem,
    /// whether it has a signature of its root hash
    is_signed: bool,
    /// the number of files without directories
    files: usize,
    /// the size of the files in bytes
    content: u64,
    /// the text of each extension-release file, by the name of the extension that it is for
    releases: BTreeMap<String, String>,
}

/// Whether a path is a file that contains a file system itself, as no disk of Flatcar does.
pub(super) fn is_file_system(path: &Utf8Path) -> bool {
    path.is_file() && fs::open_regular(path).is_ok_and(|file| FileSystem::identify(&file).is_some())
}

/// Describes an image of an extension. Returns `None` if it is a disk without the files of an extension.
///
/// # Errors
/// It is damaged, cut off or hostile.
pub(super) fn describe(path: &Utf8Path) -> Result<Option<ExtensionDescription>, Failure> {
    let scratch = Scratch::new()?;
    let scratch = scratch.path();
    let image = match ExtensionImage::open(path, &scratch.join("partition")) {
        Ok(image) => image,
        Err(ExtensionImageError::Unknown | ExtensionImageError::NoRoot) => return Ok(None),
        Err(error) => return Err(failure(path, &error)),
    };
    let fail = |error: FileSystemError| failure(path, &ExtensionImageError::from(error));
    let listed = image.list().map_err(fail)?;
    let releases = image.releases(&scratch.join("files")).map_err(fail)?;
    let files = listed.iter().filter(|file| file.kind != FileKind::Directory);
    Ok(Some(ExtensionDescription {
        kind: "extension",
        path: path.to_owned(),
        size: fs::metadata(path)?.len(),
        file_system: image.file_system,
        is_signed: image.is_signed,
        files: files.clone().count(),
        content: files.map(|file| file.size).sum(),
        releases,
    }))
}

fn failure(path: &Utf8Path, error: &ExtensionImageError) -> Failure {
    let exit = if error.is_host() { Exit::Host } else { Exit::Usage };
    Failure::of(exit, error).within(&format!("cannot read `{path}` as an image of an extension"))
}

/// Writes the description as text.
pub(super) fn page(image: &ExtensionDescription) -> String {
    let names: Vec<&str> = image.releases.keys().map(String::as_str).collect();
    let title = match names.as_slice() {
        [] => "an image of an extension without extension-release".to_owned(),
        names => format!("an image of the extension {}", names.join(", ")),
    };
    let mut text = format!("{title}\n\nextension\n");
    let signed = if image.is_signed { ", dm-verity with a signature" } else { "" };
    for (name, value) in [
        ("path", image.path.to_string()),
        ("size", format_size(image.size)),
        ("file system", format!("{}{signed}", image.file_system)),
        ("content", format!("{} files, {}", image.files, format_size(image.content))),
    ] {
        let _ = writeln!(text, "  {name:<15}{value}");
    }
    for (name, release) in &image.releases {
        let _ = writeln!(text, "\nextension-release.{name}");
        for line in release.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    if image.releases.is_empty() {
        text.push_str("\nwarning: systemd-sysext merges only images that contain `usr/lib/extension-release.d/extension-release.NAME`\n");
    }
    text
}
