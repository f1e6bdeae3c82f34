// SPDX-License-Identifier: Apache-2.0
//! Archives from outside: their members go into a stage, or the archive is refused.
//!
//! An archive is untrusted: names are checked, no device is made, nothing is written through a link,
//! no member comes twice, and neither its size nor the number of its members is without bound (see
//! [`Staged`]).
use std::io::{self, Read};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use tar::{Entry, EntryType};

use super::attributes::{self, Attribute};
use super::member::{NameError, link_target, member_path};
use super::stage::{NodeKind, StageError, Staged};

/// How much is read after the end of a tar, in bytes.
const MAXIMUM_PADDING: u64 = 16 << 20;
/// How many members an archive may have.
const MAXIMUM_MEMBERS: usize = 1_000_000;

/// An archive that cannot be unpacked: which one, and at which member.
#[derive(Debug, thiserror::Error)]
#[error("cannot unpack `{archive}`{}", member.as_ref().map(|member| format!(" at `{member}`")).unwrap_or_default())]
pub struct UnpackError {
    /// its file name
    pub archive: String,
    /// the member, where it is known
    pub member: Option<String>,
    /// why not
    #[source]
    pub cause: Box<UnpackCause>,
}

/// Why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackCause {
    /// the file cannot be read, or its compression is broken
    #[error("its bytes cannot be read")]
    Read(#[source] io::Error),
    /// it is something else
    #[error("it is not {what}: {why}")]
    Layout {
        /// what it should be, with an article
        what: &'static str,
        /// why it is not
        why: String,
    },
    /// a name that cannot be used
    #[error(transparent)]
    Name(#[from] NameError),
    /// what an extension must not hold
    #[error("it is {0}, which an extension must not hold")]
    Forbidden(&'static str),
    /// a hard link to something that the archive did not bring before
    #[error("it is a hard link to `{0}`, which the archive did not bring before")]
    HardLink(Utf8PathBuf),
    /// the archive brings it twice
    #[error("the archive brings `/{0}` twice")]
    Duplicate(Utf8PathBuf),
    /// another archive brought it
    #[error("{0} brings it too")]
    Clash(Arc<str>),
    /// it has too many members
    #[error("it has more than {MAXIMUM_MEMBERS} members")]
    Members,
    /// it does not fit into the tree
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl UnpackCause {
    /// Adds which archive, and which member of it.
    pub(super) fn of(self, archive: &str, member: Option<String>) -> UnpackError {
        UnpackError { archive: archive.to_owned(), member, cause: Box::new(self) }
    }
}

/// Where a member goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// to this path
    At(Utf8PathBuf),
    /// nowhere, as was asked for
    Nowhere,
}

/// The decoder for a suffix. Streams may be concatenated in all of these formats.
///
/// # Errors
/// None is known for it.
pub(super) fn decoder<'a>(suffix: &str, reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>, UnpackCause> {
    Ok(match suffix {
        "" => Box::new(reader),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        ".xz" => Box::new(liblzma::read::XzDecoder::new_multi_decoder(reader)),
        ".zst" => Box::new(zstd::Decoder::new(reader).map_err(UnpackCause::Read)?),
        ".bz2" => Box::new(bzip2::read::MultiBzDecoder::new(reader)),
        other => {
            let why = format!("it is compressed as `{other}`; known are .gz, .xz, .zst and .bz2");
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
}

impl<'a> Unpacking<'a> {
    /// Of the archive of a name, whose members go where `place` says.
    pub(super) fn new(
        staged: &'a mut Staged,
        archive: &'a str,
        place: &'a dyn Fn(&Utf8Path) -> Place,
    ) -> Self {
        Self { staged, archive, place, origin: Arc::from(archive), dropped: Vec::new(), members: 0 }
    }

    /// Unpacks a tar, and says which files and links lie outside /usr and /opt and were left out.
    ///
    /// # Errors
    /// See [`UnpackCause`].
    pub(super) fn tar(mut self, reader: impl Read) -> Result<Vec<Utf8PathBuf>, UnpackError> {
        let mut tar = tar::Archive::new(reader);
        let archive = self.archive;
        let read = |error| UnpackCause::Read(error).of(archive, None);
        for entry in tar.entries().map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).escape_debug().to_string();
            self.tar_member(entry).map_err(|cause| cause.of(archive, Some(name)))?;
        }
        // The tar may end before its compressed stream does, whose checksum comes last.
        let mut rest = tar.into_inner().take(MAXIMUM_PADDING);
        io::copy(&mut rest, &mut io::sink()).map_err(read)?;
        Ok(self.dropped)
    }

    /// Unpacks a zip, as [`Unpacking::tar`] does.
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
        let Some(path) = self.admit(&entry.path_bytes(), kind == EntryType::Directory)? else {
            return Ok(());
        };
        refuse_attributes(&mut entry)?;
        match kind {
            EntryType::Directory => self.directory(&path, mode),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                Ok(self.staged.put_file(&path, mode, &mut entry, &self.origin)?)
            }
            EntryType::Symlink => self.link(&path, &entry.link_name_bytes().unwrap_or_default()),
            EntryType::Link => self.hard_link(&path, &entry.link_name_bytes().unwrap_or_default()),
            EntryType::Char | EntryType::Block => Err(UnpackCause::Forbidden("a device node")),
            EntryType::Fifo => Err(UnpackCause::Forbidden("a pipe")),
            _ => Err(UnpackCause::Forbidden("neither a file, a directory nor a link")),
        }
    }

    /// A zip from another system than Unix has no modes: its files are as a umask of 022 leaves them.
    fn zip_member<R: Read>(&mut self, mut entry: zip::read::ZipFile<'_, R>) -> Result<(), UnpackCause> {
        const LONGEST_LINK: u64 = 4096;
        let is_directory = entry.is_dir();
        let Some(path) = self.admit(entry.name_raw(), is_directory)? else { return Ok(()) };
        let mode = entry.unix_mode().map(|mode| mode & 0o7777);
        if is_directory {
            return self.directory(&path, mode.unwrap_or(0o755));
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

    /// Where a member goes, if it goes anywhere.
    fn admit(&mut self, name: &[u8], is_directory: bool) -> Result<Option<Utf8PathBuf>, UnpackCause> {
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

    fn directory(&mut self, path: &Utf8Path, mode: u32) -> Result<(), UnpackCause> {
        match self.staged.get(path) {
            // Two archives share it; what the first says stays.
            Some(node) if node.kind == NodeKind::Directory => Ok(()),
            _ => Ok(self.staged.put_directory(path, mode, &self.origin)?),
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

/// Refuses a member with file capabilities or other extended attributes (pax(1) records of GNU tar
/// and libarchive), which no format carries. Labels belong to the system that they were made on, and
/// an opaque marker to its overlay.
fn refuse_attributes<R: Read>(entry: &mut Entry<'_, R>) -> Result<(), UnpackCause> {
    let Some(records) = entry.pax_extensions().map_err(UnpackCause::Read)? else { return Ok(()) };
    for record in records {
        let record = record.map_err(UnpackCause::Read)?;
        let key = String::from_utf8_lossy(record.key_bytes()).into_owned();
        let name = key.strip_prefix("SCHILY.xattr.").or_else(|| key.strip_prefix("LIBARCHIVE.xattr."));
        match name.map(attributes::sort) {
            None | Some(None | Some(Attribute::Opaque(_))) => {}
            Some(Some(Attribute::Capability)) => {
                return Err(UnpackCause::Forbidden("given file capabilities, which would get lost"));
            }
            Some(Some(Attribute::Other(_))) => {
                return Err(UnpackCause::Forbidden("marked by an extended attribute, which would get lost"));
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
    fn capabilities_and_other_attributes_are_refused_and_labels_passed_over() {
        for (attribute, taken) in [
            ("SCHILY.xattr.security.selinux", true),
            ("SCHILY.xattr.trusted.overlay.opaque", true),
            ("comment", true),
            ("SCHILY.xattr.security.capability", false),
            ("LIBARCHIVE.xattr.user.other", false),
        ] {
            let result = unpacked(attribute);
            assert_eq!(result.is_ok(), taken, "{attribute}: {result:?}");
        }
    }
}
