// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use globset::GlobSet;
use loadgauge_host::{FileError, fs};
use loadgauge_images::file_system::{ExtendedAttribute, FileOwner};

use super::error::ImageError;
use crate::attributes::{self, Attribute};
use crate::globs;
use crate::member::{link_target, member_path, merge_usr};
use crate::owner::Owner;
use crate::stage::Staged;

/// The extension-release files, which the builder writes itself.
const RELEASES: &str = "usr/lib/extension-release.d";

/// The files of an image that were not staged as they are.
#[derive(Debug, Default)]
pub(crate) struct StagedImage {
    /// files and links outside /usr and /opt, which were left out
    pub(crate) dropped: Vec<Utf8PathBuf>,
    /// directories that were marked opaque
    pub(crate) opaque: Vec<Utf8PathBuf>,
}

/// Stages an extracted image file by file.
pub(super) struct Staging<'a> {
    staged: &'a mut Staged,
    image: &'a str,
    root: &'a Utf8Path,
    /// the directory that its files belong into
    below: &'static str,
    origin: Arc<str>,
    /// the first path of each file with hard links
    links: HashMap<(u64, u64), Utf8PathBuf>,
    /// the attributes of files in the image that extraction did not preserve
    attributes: HashMap<Utf8PathBuf, Vec<Attribute>>,
    /// the owners of files in the image that do not belong to root
    owners: HashMap<Utf8PathBuf, Owner>,
    found: StagedImage,
}

impl<'a> Staging<'a> {
    pub(super) fn new(
        staged: &'a mut Staged,
        image: &'a str,
        root: &'a Utf8Path,
        below: &'static str,
    ) -> Self {
        let origin = Arc::from(format!("the image `{image}`"));
        let (links, attributes, owners) = (HashMap::new(), HashMap::new(), HashMap::new());
        let found = StagedImage::default();
        Self { staged, image, root, below, origin, links, attributes, owners, found }
    }

    /// Sets the owners of files that do not belong to root.
    pub(super) fn set_owners(&mut self, owners: Vec<FileOwner>) {
        let owner = |file: FileOwner| (file.path, Owner { uid: file.uid, gid: file.gid });
        self.owners = owners.into_iter().map(owner).collect();
    }

    /// Adds attributes that the extracted files do not have.
    pub(super) fn set_attributes(&mut self, attributes: Vec<ExtendedAttribute>) {
        for ExtendedAttribute { path, name } in attributes {
            self.attributes.entry(path).or_default().extend(attributes::classify(&name));
        }
    }

    /// Stages all files except excluded ones.
    ///
    /// # Errors
    /// A file that an extension must not contain, or that cannot be read or staged.
    pub(super) fn run(mut self, exclude: &GlobSet) -> Result<StagedImage, ImageError> {
        for entry in walkdir::WalkDir::new(self.root).min_depth(1).sort_by_file_name() {
            let entry = entry.map_err(|error| FileError::at("list", self.root)(io::Error::from(error)))?;
            let host = entry.path();
            let relative = host.strip_prefix(self.root).unwrap_or(host);
            let inside = member_path(relative.as_os_str().as_bytes())
                .map_err(|source| ImageError::Name { image: self.image.to_owned(), source })?;
            let path = merge_usr(&Utf8Path::new(self.below).join(&inside));
            let metadata = fs::symlink_metadata(host)?;
            if path.starts_with(RELEASES) || globs::matches(exclude, &path) {
                continue;
            }
            if !self.staged.takes(&path) {
                if !metadata.is_dir() {
                    self.found.dropped.push(path);
                }
                continue;
            }
            let attributes = self.attributes.remove(&inside).unwrap_or_default();
            let owner = self.owners.get(&inside).copied().unwrap_or_default();
            self.add(host, path, &metadata, attributes, owner)?;
        }
        Ok(self.found)
    }

    fn add(
        &mut self,
        host: &Path,
        path: Utf8PathBuf,
        metadata: &Metadata,
        attributes: Vec<Attribute>,
        owner: Owner,
    ) -> Result<(), ImageError> {
        let image = self.image.to_owned();
        let mut is_opaque = false;
        let preserved = attributes::of(host).map_err(FileError::at("read the attributes of", host))?;
        for attribute in preserved.into_iter().chain(attributes) {
            match attribute {
                Attribute::Opaque(_) => is_opaque = true,
                other => return Err(ImageError::Attribute { image, path, attribute: other.description() }),
            }
        }
        self.found.opaque.extend(is_opaque.then(|| path.clone()));
        let (kind, mode) = (metadata.file_type(), metadata.permissions().mode() & 0o7777);
        if kind.is_dir() {
            self.staged.put_directory(&path, mode, &self.origin)?;
            self.staged.set_owner(&path, owner);
        } else if kind.is_symlink() {
            let target = fs::read_link(host)?;
            let target = link_target(&path, target.as_os_str().as_bytes())
                .map_err(|source| ImageError::Name { image: self.image.to_owned(), source })?;
            self.staged.put_link(&path, &target, &self.origin)?;
        } else if kind.is_file() {
            self.file(host, path.clone(), mode, metadata)?;
            self.staged.set_owner(&path, owner);
        } else if kind.is_char_device() && metadata.rdev() == 0 {
            return Err(ImageError::Whiteout { image, path });
        } else {
            return Err(ImageError::Special { image, path });
        }
        Ok(())
    }

    fn file(
        &mut self,
        host: &Path,
        path: Utf8PathBuf,
        mode: u32,
        metadata: &Metadata,
    ) -> Result<(), ImageError> {
        let key = (metadata.dev(), metadata.ino());
        if metadata.nlink() > 1
            && let Some(first) = self.links.get(&key)
        {
            return Ok(self.staged.put_hard_link(&path, first, &self.origin)?);
        }
        let mut contents = fs::open(host)?;
        self.staged.put_file(&path, mode, &mut contents, &self.origin)?;
        self.links.insert(key, path);
        Ok(())
    }
}
