// SPDX-License-Identifier: Apache-2.0
//! Unpacks archives into a stage.
//!
//! Archives are not trusted: names are checked, devices and duplicate members are refused, no file is
//! written through a link, and the size and the number of members are limited (see [`Staged`]).
use std::io::{self, Read};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use tar::{Entry, EntryType};

use super::attributes::{self, Attribute};
use super::member::{NameError, link_target, member_path};
use super::owner::Owner;
use super::stage::{NodeKind, StageError, Staged};
use super::tar_guard::TarGuard;

/// The size limit of the padding after the end of a tar, in bytes.
const MAXIMUM_PADDING: u64 = 16 << 20;
/// The limit of members in an archive.
const MAXIMUM_MEMBERS: usize = 1_000_000;

/// An archive that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("cannot unpack `{archive}`{}", member.as_ref().map(|member| format!(" at `{member}`")).unwrap_or_default())]
pub struct UnpackError {
    /// its file name
    pub archive: String,
    /// the member, where the error is about one
    pub member: Option<String>,
    /// the reason
    #[source]
    pub cause: Box<UnpackCause>,
}

/// The reason why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackCause {
    /// the file cannot be read or decompressed
    #[error("the archive cannot be read")]
    Read(#[source] io::Error),
    /// the file is of another type
    #[error("it is not {what}: {why}")]
    Layout {
        /// the expected type, with an article
        what: &'static str,
        /// the reason
        why: String,
    },
    /// a name is not valid
    #[error(transparent)]
    Name(#[from] NameError),
    /// a member is of a type that an extension must not contain
    #[error("it is {0}, which an extension must not contain")]
    Forbidden(&'static str),
    /// a hard link to a file that is not an earlier member
    #[error("it is a hard link to `{0}`, which is not an earlier member")]
    HardLink(Utf8PathBuf),
    /// a path is in the archive twice
    #[error("the archive contains `/{0}` twice")]
    Duplicate(Utf8PathBuf),
    /// another archive contains the path too
    #[error("{0} contains it too")]
    Clash(Arc<str>),
    /// the archive has too many members
    #[error("it has more than {MAXIMUM_MEMBERS} members")]
    Members,
    /// a set-id file does not belong to root, and would get the rights of root
    #[error(
        "it is set-id ({mode:04o}) and belongs to {owner}; as a file of root it would have the rights of root"
    )]
    SetId {
        /// permission bits
        mode: u32,
        /// its owner in the archive
        owner: Owner,
    },
    /// a user or group has a number that no file system can store
    #[error("its owner has the number {0}, which is larger than 32 bits")]
    OwnerNumber(u64),
    /// the member does not fit into the tree
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl UnpackCause {
    /// Adds the archive and the member.
    pub(super) fn of(self, archive: &str, member: Option<String>) -> UnpackError {
        UnpackError { archive: archive.to_owned(), member, cause: Box::new(self) }
    }
}

/// The place of a member in the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// this path
    At(Utf8PathBuf),
    /// it is left out
    Nowhere,
}

/// The decoder for a file name suffix. All of these formats can have concatenated streams.
///
/// # Errors
/// The suffix is unknown, or the decoder cannot start.
pub(super) fn decoder<'a>(suffix: &str, reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>, UnpackCause> {
    Ok(match suffix {
        "" => Box::new(reader),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        ".xz" => Box::new(liblzma::read::XzDecoder::new_multi_decoder(reader)),
        ".zst" => Box::new(zstd::Decoder::new(reader).map_err(UnpackCause::Read)?),
        ".bz2" => Box::new(bzip2::read::MultiBzDecoder::new(reader)),
        other => {
            let why = format!("unknown compression `{other}`, expected .gz, .xz, .zst or .bz2");
            return Err(UnpackCause::Layout { what: "a tar that can be read", why });
        }
    })
}

/// The unpacking of one archive.
pub(super) struct Unpacking<'a> {
    staged: &'a mut Staged,
    archive: &'a str,
    place: &'a dyn Fn(&Utf8Path) -> Place,
    origin: Arc<str>,
    dropped: Vec<Utf8PathBuf>,
    members: usize,
    keeps_owners: bool,
}

impl<'a> Unpacking<'a> {
    /// Prepares the unpacking of an archive. `place` decides where its members go.
    pub(super) fn new(
        staged: &'a mut Staged,
        archive: &'a str,
        place: &'a dyn Fn(&Utf8Path) -> Place,
    ) -> Self {
        Self {
            staged,
            archive,
            place,
            origin: Arc::from(archive),
            dropped: Vec::new(),
            members: 0,
            keeps_owners: true,
        }
    }

    /// Gives all files to root, as `--no-same-owner` of tar(1) does for root: the owners in an archive of a
    /// project are those of the machine that built it. A set-id file of another owner is an error.
    pub(super) fn owned_by_root(self) -> Self {
        Self { keeps_owners: false, ..self }
    }

    /// Unpacks a tar archive. Returns the files and links outside /usr and /opt, which were left out.
    ///
    /// # Errors
    /// See [`UnpackCause`].
    pub(super) fn tar(mut self, reader: impl Read) -> Result<Vec<Utf8PathBuf>, UnpackError> {
        let mut tar = tar::Archive::new(TarGuard::new(reader));
        let archive = self.archive;
        let read = |error| UnpackCause::Read(error).of(archive, None);
        for entry in tar.entries().map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).escape_debug().to_string();
            self.tar_member(entry).map_err(|cause| cause.of(archive, Some(name)))?;
        }
        // The checksum of the compressed stream can follow the end of the tar archive.
        let mut rest = tar.into_inner().take(MAXIMUM_PADDING);
        io::copy(&mut rest, &mut io::sink()).map_err(read)?;
        Ok(self.dropped)
    }

    /// Unpacks a zip archive, like [`Unpacking::tar`].
    ///
    /// # Errors
    /// See [`UnpackCause`].
    pub(super) fn zip(mut self, reader: impl Read + io::Seek) -> Result<Vec<Utf8PathBuf>, UnpackError> {
        let archive = self.archive;
        let layout = |error: zip::result::ZipError| UnpackCause::Layout {
            what: "a zip that can be read",
            why: error.to_string(),
        };
        let mut zip = zip::ZipArchive::new(reader).map_err(|error| layout(error).of(archive, None))?;
        for index in 0..zip.len() {
            let entry = zip.by_index(index).map_err(|error| layout(error).of(archive, None))?;
            let name = String::from_utf8_lossy(entry.name_raw()).escape_debug().to_string();
            self.zip_member(entry).map_err(|cause| cause.of(archive, Some(name)))?;
        }
        Ok(self.dropped)
    }

    fn tar_member<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), UnpackCause> {
        let kind = entry.header().entry_type();
        let mode = entry.header().mode().map_err(UnpackCause::Read)? & 0o7777;
        let Some(path) = self.destination(&entry.path_bytes(), kind == EntryType::Directory)? else {
            return Ok(());
        };
        refuse_attributes(&mut entry)?;
        let owner = self.owner(entry.header(), mode, kind)?;
        match kind {
            EntryType::Directory => self.directory(&path, mode, owner),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.staged.put_file(&path, mode, &mut entry, &self.origin)?;
                self.staged.set_owner(&path, owner);
                Ok(())
            }
            EntryType::Symlink => self.link(&path, &entry.link_name_bytes().unwrap_or_default()),
            EntryType::Link => self.hard_link(&path, &entry.link_name_bytes().unwrap_or_default()),
            EntryType::Char | EntryType::Block => Err(UnpackCause::Forbidden("a device node")),
            EntryType::Fifo => Err(UnpackCause::Forbidden("a pipe")),
            _ => Err(UnpackCause::Forbidden("neither a file, a directory nor a link")),
        }
    }

    /// Archives of other systems than Unix have no modes: their files get those of a umask of 022.
    fn zip_member<R: Read>(&mut self, mut entry: zip::read::ZipFile<'_, R>) -> Result<(), UnpackCause> {
        const LONGEST_LINK: u64 = 4096;
        let is_directory = entry.is_dir();
        let Some(path) = self.destination(entry.name_raw(), is_directory)? else { return Ok(()) };
        let mode = entry.unix_mode().map(|mode| mode & 0o7777);
        if is_directory {
            return self.directory(&path, mode.unwrap_or(0o755), Owner::ROOT);
        }
        if entry.is_symlink() {
            let mut target = Vec::new();
            entry.by_ref().take(LONGEST_LINK).read_to_end(&mut target).map_err(UnpackCause::Read)?;
            return self.link(&path, &target);
        }
        let format = entry.unix_mode().unwrap_or(0) & 0o170_000;
        if ![0, 0o100_000].contains(&format) {
            return Err(UnpackCause::Forbidden("neither a file, a directory nor a link"));
        }
        Ok(self.staged.put_file(&path, mode.unwrap_or(0o644), &mut entry, &self.origin)?)
    }

    /// The path of a member in the extension, or `None` where it is left out.
    fn destination(&mut self, name: &[u8], is_directory: bool) -> Result<Option<Utf8PathBuf>, UnpackCause> {
        self.members += 1;
        if self.members > MAXIMUM_MEMBERS {
            return Err(UnpackCause::Members);
        }
        let Place::At(path) = (self.place)(&member_path(name)?) else { return Ok(None) };
        if path.as_str().is_empty() {
            return Ok(None);
        }
        if !self.staged.takes(&path) {
            if !is_directory {
                self.dropped.push(path);
            }
            return Ok(None);
        }
        match self.staged.get(&path) {
            Some(node) if is_directory || node.kind == NodeKind::Directory => Ok(Some(path)),
            Some(node) if node.origin == self.origin => Err(UnpackCause::Duplicate(path)),
            Some(node) => Err(UnpackCause::Clash(Arc::clone(&node.origin))),
            None => Ok(Some(path)),
        }
    }

    /// The owner of a member in the extension.
    fn owner(&self, header: &tar::Header, mode: u32, kind: EntryType) -> Result<Owner, UnpackCause> {
        let number = |field: &[u8], number: io::Result<u64>| {
            // Some writers leave the field empty.
            if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
                return Ok(0);
            }
            let number = number.map_err(UnpackCause::Read)?;
            u32::try_from(number).map_err(|_| UnpackCause::OwnerNumber(number))
        };
        let fields = header.as_old();
        let owner =
            Owner { uid: number(&fields.uid, header.uid())?, gid: number(&fields.gid, header.gid())? };
        if self.keeps_owners || owner.is_root() {
            return Ok(owner);
        }
        if mode & 0o6000 != 0 && kind != EntryType::Directory {
            return Err(UnpackCause::SetId { mode, owner });
        }
        Ok(Owner::ROOT)
    }

    fn directory(&mut self, path: &Utf8Path, mode: u32, owner: Owner) -> Result<(), UnpackCause> {
        match self.staged.get(path) {
            // Two archives share the directory; the first one decides its mode and owner.
            Some(node) if node.kind == NodeKind::Directory => Ok(()),
            _ => {
                self.staged.put_directory(path, mode, &self.origin)?;
                self.staged.set_owner(path, owner);
                Ok(())
            }
        }
    }

    fn link(&mut self, path: &Utf8Path, target: &[u8]) -> Result<(), UnpackCause> {
        let target = link_target(path, target)?;
        Ok(self.staged.put_link(path, &target, &self.origin)?)
    }

    fn hard_link(&mut self, path: &Utf8Path, target: &[u8]) -> Result<(), UnpackCause> {
        let named = member_path(target)?;
        let Place::At(target) = (self.place)(&named) else { return Err(UnpackCause::HardLink(named)) };
        match self.staged.get(&target) {
            Some(node) if node.origin == self.origin && matches!(node.kind, NodeKind::File { .. }) => {
                Ok(self.staged.put_hard_link(path, &target, &self.origin)?)
            }
            _ => Err(UnpackCause::HardLink(target)),
        }
    }
}

/// Refuses a member with file capabilities or other extended attributes (pax(1) records of GNU tar and
/// libarchive), which no format keeps. SELinux labels and opaque markers are ignored: they belong to the
/// system and the overlay that the archive was created on.
fn refuse_attributes<R: Read>(entry: &mut Entry<'_, R>) -> Result<(), UnpackCause> {
    let Some(records) = entry.pax_extensions().map_err(UnpackCause::Read)? else { return Ok(()) };
    for record in records {
        let record = record.map_err(UnpackCause::Read)?;
        let key = String::from_utf8_lossy(record.key_bytes()).into_owned();
        let name = key.strip_prefix("SCHILY.xattr.").or_else(|| key.strip_prefix("LIBARCHIVE.xattr."));
        match name.map(attributes::classify) {
            None | Some(None | Some(Attribute::Opaque(_))) => {}
            Some(Some(Attribute::Capability)) => {
                return Err(UnpackCause::Forbidden("a file with capabilities, which would be lost"));
            }
            Some(Some(Attribute::Other(_))) => {
                return Err(UnpackCause::Forbidden("a file with an extended attribute, which would be lost"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(attribute: &str) -> Result<Vec<Utf8PathBuf>, UnpackError> {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([(attribute, b"value".as_slice())]).expect("appended");
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_size(1);
        builder.append_data(&mut header, "usr/bin/ping", b"x".as_slice()).expect("appended");
        let bytes = builder.into_inner().expect("finished");
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let place = |path: &Utf8Path| Place::At(path.to_owned());
        Unpacking::new(&mut staged, "a.tar", &place).tar(bytes.as_slice())
    }

    #[test]
    fn capabilities_and_other_attributes_are_refused_and_labels_ignored() {
        for (attribute, accepted) in [
            ("SCHILY.xattr.security.selinux", true),
            ("SCHILY.xattr.trusted.overlay.opaque", true),
            ("comment", true),
            ("SCHILY.xattr.security.capability", false),
            ("LIBARCHIVE.xattr.user.other", false),
        ] {
            let result = unpacked(attribute);
            assert_eq!(result.is_ok(), accepted, "{attribute}: {result:?}");
        }
    }
}
