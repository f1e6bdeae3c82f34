// SPDX-License-Identifier: Apache-2.0
//! Reads the content of extensions on the host.
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Scratch, fs};
use loadgauge_images::ExtensionImage;
use loadgauge_images::extension_image::list_directory;
use loadgauge_images::file_system::{FileKind, FileMetadata, FileSystem};

use super::content::{Content, Entry, Kind, Packed, RELEASES};
use crate::foreign_file::ForeignFile;
use crate::image::ImageError;
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

/// Where the files of an extension are: on the host, or in the list of its image.
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
            content.entries.insert(
                path.to_owned(),
                Entry { kind, mode: node.mode, owner: Some((node.owner.uid, node.owner.gid)) },
            );
            hosts.insert(path.to_owned(), staged.root().join(path));
        }
        content.read_files(&hosts)?;
        Ok(content)
    }

    /// The content of an existing extension, an image or a directory, for systemd-sysext's `name` of it. Of an
    /// image only the files that rules read are extracted.
    ///
    /// # Errors
    /// It is not an image of an extension, is damaged or hostile, or the host lacks a program to read it.
    pub fn of_extension(path: &Utf8Path, name: &str) -> Result<Self, ImageError> {
        let mut content = Self { name: name.to_owned(), ..Self::default() };
        if path.is_dir() {
            let mut places = content.add(list_directory(path)?, false);
            content.follow_usr(&mut places);
            let hosts = places.into_iter().map(|(inside, place)| (inside, path.join(place))).collect();
            content.read_files(&hosts)?;
            let loose = content.releases().filter(|release| hosts.get(*release).is_some_and(has_strict));
            content.loose_releases = loose.cloned().collect();
            return Ok(content);
        }
        let scratch = Scratch::new()?;
        let scratch = scratch.path();
        let image = path.file_name().unwrap_or_default();
        let partition = scratch.join("partition");
        let opened = ExtensionImage::open(path, &partition).map_err(|source| ImageError::Open {
            image: image.to_owned(),
            found: ForeignFile::of_file(path).ok().flatten(),
            source: Box::new(source),
        })?;
        let extract_error = |source| ImageError::Extract { image: image.to_owned(), source };
        let source = if partition.is_file() { &partition } else { path };
        let compression = compression(opened.file_system, &fs::open(source)?);
        content.packed = Some(Packed { file_system: opened.file_system, compression });
        let files = opened.list().map_err(extract_error)?;
        let strict = files.iter().filter(|file| file.attributes.iter().any(|name| name == STRICT));
        let strict: Vec<PathBuf> = strict.map(|file| file.path.clone()).collect();
        let mut places = content.add(files, true);
        content.follow_usr(&mut places);
        let loose = content.releases().filter(|release| {
            places.get(*release).is_some_and(|place| strict.iter().any(|path| path == place.as_std_path()))
        });
        content.loose_releases = loose.cloned().collect();
        let wanted: BTreeSet<Utf8PathBuf> = content.wanted().into_values().collect();
        let wanted: Vec<(&Utf8PathBuf, &Utf8Path)> =
            wanted.iter().filter_map(|path| Some((path, places.get(path)?.as_path()))).collect();
        if !wanted.is_empty() {
            let inside: Vec<&Utf8Path> = wanted.iter().map(|(_, place)| *place).collect();
            let (_tree, paths) =
                opened.extract_files(&inside, &scratch.join("root")).map_err(extract_error)?;
            let hosts = wanted.iter().map(|(path, _)| (*path).clone()).zip(paths).collect();
            content.read_files(&hosts)?;
        }
        Ok(content)
    }

    /// Adds listed files, and returns where each of them is in the list.
    fn add(&mut self, files: Vec<FileMetadata>, has_owners: bool) -> HostPaths {
        let mut places = HostPaths::new();
        for file in files {
            // Names that are not UTF-8 are no fault for systemd, and no rule is about them.
            let Ok(path) = Utf8PathBuf::from_path_buf(file.path) else { continue };
            if path.as_str().is_empty() {
                continue;
            }
            let kind = match file.kind {
                FileKind::Directory => Kind::Directory,
                FileKind::Regular => Kind::File,
                FileKind::Link => Kind::Link(file.target.unwrap_or_default().to_string_lossy().into_owned()),
                FileKind::Fifo | FileKind::Socket | FileKind::CharacterDevice | FileKind::BlockDevice => {
                    Kind::Special
                }
            };
            // Files of a directory get root as their owner when they are delivered.
            let owner = has_owners.then_some((file.uid, file.gid));
            self.entries.insert(path.clone(), Entry { kind, mode: file.mode, owner });
            places.insert(path.clone(), path);
        }
        places
    }

    /// The extension-release files.
    fn releases(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        self.entries.keys().filter(|path| path.parent() == Some(Utf8Path::new(RELEASES)))
    }

    /// The paths that rules read, and the regular files that they lead to.
    fn wanted(&self) -> BTreeMap<Utf8PathBuf, Utf8PathBuf> {
        let wanted = self.entries.keys().filter(|path| Self::wants_text(path) || Self::wants_head(path));
        wanted
            .filter_map(|path| Some((path.clone(), self.resolve(path).filter(|file| self.is_file(file))?)))
            .collect()
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
        for (path, file) in self.wanted() {
            let Some(host) = hosts.get(&file) else { continue };
            if Self::wants_text(&path)
                && let Ok(text) = String::from_utf8(start(host, LARGEST_TEXT)?)
            {
                self.texts.insert(path.clone(), text);
            }
            if Self::wants_head(&path) && file == path {
                self.heads.insert(path, start(host, HEAD)?);
            }
        }
        Ok(())
    }
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
fn has_strict(host: &Utf8PathBuf) -> bool {
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
