// SPDX-License-Identifier: Apache-2.0
//! Reads the content of extensions on the host.
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Scratch, fs};
use loadgauge_images::ExtensionImage;
use loadgauge_images::file_system::{ExtendedAttribute, FileSystem};

use super::content::{Content, Entry, Kind, Packed, RELEASES};
use crate::image::ImageError;
use crate::member::member_path;
use crate::stage::{NodeKind, Staged};

/// The largest text that rules look at, in bytes.
const LARGEST_TEXT: u64 = 1 << 20;
/// How many bytes of a program rules look at.
const HEAD: u64 = 256;
/// The attribute with which an extension-release file counts for any name (os-release(5)).
const STRICT: &str = "user.extension-release.strict";
/// The compressions of squashfs by their number in the superblock (Linux's `squashfs_fs.h`).
const SQUASHFS: [&str; 7] = ["none", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"];
/// The compressions of erofs by their bit in the superblock (Linux's `erofs_fs.h`).
const EROFS: [&str; 4] = ["lz4", "lzma", "deflate", "zstd"];

/// Where the files of an extension are on the host.
type HostPaths = BTreeMap<Utf8PathBuf, Utf8PathBuf>;

impl Content {
    /// The content of a staged tree.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn of_staged(staged: &Staged, name: &str) -> Result<Self, FileError> {
        let mut content = Self { name: name.to_owned(), ..Self::default() };
        let mut hosts = HostPaths::new();
        for (path, node) in staged.nodes() {
            let kind = match &node.kind {
                NodeKind::Directory => Kind::Directory,
                NodeKind::File { .. } => Kind::File,
                NodeKind::Link { target } => Kind::Link(target.clone()),
            };
            content.entries.insert(path.to_owned(), Entry { kind, mode: node.mode, owner: Some((0, 0)) });
            hosts.insert(path.to_owned(), staged.root().join(path));
        }
        content.read_files(&hosts)?;
        Ok(content)
    }

    /// The content of an existing extension, an image or a directory, for systemd-sysext's `name` of it.
    ///
    /// # Errors
    /// It is not an image of an extension, is damaged or hostile, or the host lacks a program to read it.
    pub fn of_extension(path: &Utf8Path, name: &str) -> Result<Self, ImageError> {
        if path.is_dir() {
            return Self::of_directory(path, "", None, name, &[]);
        }
        let scratch = Scratch::new()?;
        let scratch = scratch.path();
        let image = path.file_name().unwrap_or_default().to_owned();
        let partition = scratch.join("partition");
        let opened = ExtensionImage::open(path, &partition)
            .map_err(|source| ImageError::Open { image: image.clone(), source })?;
        let (tree, attributes) =
            opened.extract(&scratch.join("root")).map_err(|source| ImageError::Extract { image, source })?;
        let source = if partition.is_file() { &partition } else { path };
        let compression = compression(opened.file_system, &fs::open(source)?);
        let packed = Packed { file_system: opened.file_system, compression };
        Self::of_directory(tree.root(), opened.below, Some(packed), name, &attributes)
    }

    fn of_directory(
        root: &Utf8Path,
        below: &str,
        packed: Option<Packed>,
        name: &str,
        attributes: &[ExtendedAttribute],
    ) -> Result<Self, ImageError> {
        let mut content = Self { name: name.to_owned(), packed, ..Self::default() };
        // Files of a directory get root as their owner when they are delivered. Extraction keeps owners as
        // root only, and never those of an erofs.
        let is_own = packed.is_some_and(|packed| packed.file_system != FileSystem::Erofs);
        let has_owners = is_own && rustix::process::geteuid().is_root();
        let mut hosts = HostPaths::new();
        for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
            let entry = entry.map_err(|error| FileError::at("list", root)(io::Error::from(error)))?;
            let host = entry.path();
            let relative = host.strip_prefix(root).unwrap_or(host);
            // Names that are not UTF-8 are no fault for systemd, and no rule is about them.
            let Ok(inside) = member_path(relative.as_os_str().as_bytes()) else { continue };
            let Ok(host) = Utf8PathBuf::from_path_buf(host.to_owned()) else { continue };
            let path = Utf8Path::new(below).join(inside);
            let metadata = fs::symlink_metadata(&host)?;
            let kind = kind(&host, &metadata)?;
            let mode = metadata.permissions().mode() & 0o7777;
            let owner = has_owners.then(|| (metadata.uid(), metadata.gid()));
            content.entries.insert(path.clone(), Entry { kind, mode, owner });
            hosts.insert(path, host);
        }
        content.follow_usr(&mut hosts);
        content.read_files(&hosts)?;
        let lost = |path: &Utf8Path| {
            attributes.iter().any(|attribute| {
                attribute.name == STRICT && Utf8Path::new(below).join(&attribute.path) == path
            })
        };
        let releases = content.entries.keys().filter(|path| path.parent() == Some(Utf8Path::new(RELEASES)));
        let loose =
            releases.filter(|path| lost(path) || hosts.get(*path).is_some_and(|host| has_strict(host)));
        content.loose_releases = loose.cloned().collect();
        Ok(content)
    }

    /// Moves the files of another directory to /usr where /usr is a link to it, as systemd follows it.
    fn follow_usr(&mut self, hosts: &mut HostPaths) {
        let usr = Utf8Path::new("usr");
        if !matches!(self.get(usr), Some(Entry { kind: Kind::Link(_), .. })) {
            return;
        }
        let Some(target) = self.resolve(usr) else { return };
        if !matches!(self.get(&target), Some(Entry { kind: Kind::Directory, .. })) {
            return;
        }
        let moved = |path: &Utf8Path| path.strip_prefix(&target).ok().map(|rest| usr.join(rest));
        let entries = std::mem::take(&mut self.entries);
        for (path, entry) in entries.into_iter().filter(|(path, _)| path != usr) {
            self.entries.insert(moved(&path).unwrap_or(path), entry);
        }
        *hosts = std::mem::take(hosts)
            .into_iter()
            .filter(|(path, _)| path != usr)
            .map(|(path, host)| (moved(&path).unwrap_or(path), host))
            .collect();
        self.usr_target = Some(target);
    }

    /// Reads texts and first bytes; those of a link are those of the file that it leads to.
    fn read_files(&mut self, hosts: &HostPaths) -> Result<(), FileError> {
        for path in self.entries.keys() {
            let wanted = (Self::wants_text(path), Self::wants_head(path));
            if wanted == (false, false) {
                continue;
            }
            let Some(file) = self.resolve(path).filter(|file| self.is_file(file)) else { continue };
            let Some(host) = hosts.get(&file) else { continue };
            if wanted.0
                && let Ok(text) = String::from_utf8(start(host, LARGEST_TEXT)?)
            {
                self.texts.insert(path.clone(), text);
            }
            if wanted.1 && file == *path {
                self.heads.insert(path.clone(), start(host, HEAD)?);
            }
        }
        Ok(())
    }
}

fn kind(host: &Utf8Path, metadata: &Metadata) -> Result<Kind, FileError> {
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Kind::Directory
    } else if kind.is_file() {
        Kind::File
    } else if kind.is_symlink() {
        Kind::Link(fs::read_link(host)?.to_string_lossy().into_owned())
    } else {
        Kind::Special
    })
}

/// The first bytes of a file.
fn start(host: &Utf8Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let file = match fs::open(host) {
        // The mode of an extracted file may deny it to its owner.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(bytes),
        file => file?,
    };
    file.take(limit).read_to_end(&mut bytes).map_err(FileError::at("read", host))?;
    Ok(bytes)
}

/// Whether a file has the attribute [`STRICT`].
fn has_strict(host: &Utf8Path) -> bool {
    let mut value = [0_u8; 16];
    rustix::fs::lgetxattr(host.as_std_path(), STRICT, &mut value).is_ok()
}

/// The compression that a superblock says.
fn compression(file_system: FileSystem, file: &File) -> Option<&'static str> {
    let number = |offset| {
        let mut bytes = [0; 2];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(usize::from(u16::from_le_bytes(bytes)))
    };
    match file_system {
        FileSystem::Squashfs => SQUASHFS.get(number(20)?).copied(),
        FileSystem::Erofs => {
            // With the feature COMPR_CFGS the bitmap says all algorithms; without it there is lz4 alone,
            // or no compression.
            let has_list = number(1024 + 80)? & 2 != 0;
            let bits = if has_list { number(1024 + 84)? } else { 0 };
            EROFS
                .iter()
                .enumerate()
                .filter(|(bit, _)| bits & (1 << bit) != 0)
                .map(|(_, name)| *name)
                .next_back()
        }
        _ => None,
    }
}
