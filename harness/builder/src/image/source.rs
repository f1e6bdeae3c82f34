// SPDX-License-Identifier: Apache-2.0
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Store, fs};
use loadgauge_images::ExtensionImage;
use loadgauge_images::file_system::{ExtendedAttribute, FileOwner};

use super::error::ImageError;
use super::staging::{StagedImage, Staging};
use crate::foreign_file::ForeignFile;
use crate::globs;
use crate::origin::Origin;
use crate::recipe::{ImageSection, Recipe};
use crate::stage::Staged;

/// The largest image, in bytes.
const MAXIMUM_SIZE: u64 = 8 << 30;

/// Stages an existing extension, with the modes of its files and without its extension-release.
///
/// # Errors
/// See [`ImageError`].
pub(crate) fn stage(
    staged: &mut Staged,
    recipe: &Recipe,
    section: &ImageSection,
    store: &Store,
    progress: &dyn Fn(&str),
) -> Result<StagedImage, ImageError> {
    let origin = Origin {
        source: section.source.as_ref(),
        url: section.url.as_ref(),
        sha256: section.sha256.as_ref(),
        limit: MAXIMUM_SIZE,
    };
    let (path, name) = origin.locate::<ImageError>(recipe, store, progress)?;
    progress(&format!("extracting {name}"));
    let exclude = globs::compile(recipe, &section.exclude)?;
    let scratch = staged.scratch("image")?;
    // Nobody else runs its set-id programs meanwhile.
    fs::set_permissions(&scratch, Permissions::from_mode(0o700))?;
    let extracted = if path.is_dir() {
        let owners = owners_of_directory(&path)?;
        Extracted { root: path, below: "", attributes: Vec::new(), owners }
    } else {
        extract(&path, &name, &scratch)?
    };
    let mut staging = Staging::new(staged, &name, &extracted.root, extracted.below);
    staging.set_attributes(extracted.attributes);
    staging.set_owners(extracted.owners);
    let found = staging.run(&exclude)?;
    let is_empty = staged.nodes().next().is_none();
    fs::remove_dir_all(&scratch)?;
    if is_empty {
        let message = format!("`{name}` adds nothing to the extension");
        return Err(recipe
            .error(recipe.place_of(section), message, "an extension contains /usr and /opt")
            .into());
    }
    Ok(found)
}

/// An extracted image.
struct Extracted {
    root: Utf8PathBuf,
    /// the directory that the files belong into
    below: &'static str,
    /// the attributes of files that extraction did not preserve
    attributes: Vec<ExtendedAttribute>,
    /// files that do not belong to root
    owners: Vec<FileOwner>,
}

/// The files of an extension that is a directory and do not belong to root. Those of the user who builds it
/// count as root's, unless that user is root and can give files to others.
fn owners_of_directory(root: &Utf8Path) -> Result<Vec<FileOwner>, ImageError> {
    let builder = rustix::process::geteuid();
    let mut owners = Vec::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.map_err(|error| FileError::at("list", root)(std::io::Error::from(error)))?;
        let metadata = fs::symlink_metadata(entry.path())?;
        let (uid, gid) = (metadata.uid(), metadata.gid());
        let is_builder = if builder.is_root() { (uid, gid) == (0, 0) } else { uid == builder.as_raw() };
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if let (false, Some(path)) = (is_builder || metadata.is_symlink(), Utf8Path::from_path(relative)) {
            owners.push(FileOwner { path: path.to_owned(), uid, gid });
        }
    }
    Ok(owners)
}

fn extract(image: &Utf8Path, name: &str, scratch: &Utf8Path) -> Result<Extracted, ImageError> {
    let opened = ExtensionImage::open(image, &scratch.join("partition")).map_err(|source| {
        let found = ForeignFile::of_file(image).ok().flatten();
        ImageError::Open { image: name.to_owned(), found, source: Box::new(source) }
    })?;
    let fail = |source| ImageError::Extract { image: name.to_owned(), source };
    let owners = opened.owners().map_err(fail)?;
    let (tree, attributes) = opened.extract(&scratch.join("root")).map_err(fail)?;
    Ok(Extracted { root: tree.root().to_owned(), below: opened.below, attributes, owners })
}
