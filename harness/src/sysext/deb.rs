// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use globset::GlobSet;
use tar::{Entry, EntryType};

use super::globs::matches;
use super::member::{NameError, link_target, member_path, merge_usr};
use super::stage::{NodeKind, StageError, Staged};

/// How much is read after the end of a tar, in bytes.
const MAXIMUM_PADDING: u64 = 16 << 20;

/// A package that cannot be unpacked: which one, and at which member.
#[derive(Debug, thiserror::Error)]
#[error("cannot unpack `{package}`{}", member.as_ref().map(|member| format!(" at `{member}`")).unwrap_or_default())]
pub struct DebError {
    /// its file name
    pub package: String,
    /// the member of the archive, where it is known
    pub member: Option<String>,
    /// why not
    #[source]
    pub cause: DebCause,
}

/// Why a package cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum DebCause {
    /// the file cannot be read, or its compression is broken
    #[error("its bytes cannot be read")]
    Read(#[source] io::Error),
    /// deb(5) demands another layout
    #[error("it is not a Debian package: {0}")]
    Layout(String),
    /// a name that cannot be used
    #[error(transparent)]
    Name(#[from] NameError),
    /// what an extension must not hold
    #[error("it is {0}, which an extension must not hold")]
    Forbidden(&'static str),
    /// a hard link to something that the package did not bring before
    #[error("it is a hard link to `{0}`, which the package did not bring before")]
    HardLink(Utf8PathBuf),
    /// another package brought it
    #[error("{0} brings it too")]
    Clash(Arc<str>),
    /// it does not fit into the tree
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// What of a package did not go into the extension.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// files and links outside /usr and /opt
    pub(super) dropped: Vec<Utf8PathBuf>,
}

/// Unpacks a Debian package into a stage. Maintainer scripts are not run, and what would lie
/// outside /usr and /opt is left out and listed.
///
/// Format: deb(5). A package is untrusted here as any other archive is: names are checked, no
/// device is made, and nothing is written through a link.
///
/// # Errors
/// See [`DebCause`].
pub(super) fn unpack(
    staged: &mut Staged,
    deb: &Utf8Path,
    package: &str,
    exclude: &GlobSet,
) -> Result<Unpacked, DebError> {
    let fail = |cause| DebError { package: package.to_owned(), member: None, cause };
    let file = File::open(deb).map_err(|error| fail(DebCause::Read(error)))?;
    let mut archive = ar::Archive::new(BufReader::with_capacity(1 << 20, file));
    let mut first = true;
    while let Some(entry) = archive.next_entry() {
        let mut entry = entry.map_err(|error| fail(DebCause::Layout(error.to_string())))?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        if first {
            check_version(&name, &mut entry).map_err(fail)?;
            first = false;
        } else if let Some(suffix) = name.strip_prefix("data.tar") {
            let origin: Arc<str> = Arc::from(package);
            let reader = decoder(suffix, entry).map_err(fail)?;
            return Data { staged, package, exclude, origin, unpacked: Unpacked::default() }.unpack(reader);
        }
    }
    Err(fail(DebCause::Layout("there is no member `data.tar`".to_owned())))
}

fn check_version(name: &str, entry: &mut impl Read) -> Result<(), DebCause> {
    let mut version = String::new();
    if name != "debian-binary" {
        return Err(DebCause::Layout(format!("its first member is `{name}`")));
    }
    entry.take(64).read_to_string(&mut version).map_err(DebCause::Read)?;
    if version.starts_with("2.") {
        return Ok(());
    }
    Err(DebCause::Layout(format!("its format is `{}`, known is 2.0", version.trim())))
}

/// The decoder for a suffix. Streams may be concatenated in all of these formats.
fn decoder<'a>(suffix: &str, reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>, DebCause> {
    Ok(match suffix {
        "" => Box::new(reader),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        ".xz" => Box::new(liblzma::read::XzDecoder::new_multi_decoder(reader)),
        ".zst" => Box::new(zstd::Decoder::new(reader).map_err(DebCause::Read)?),
        ".bz2" => Box::new(bzip2::read::MultiBzDecoder::new(reader)),
        other => return Err(DebCause::Layout(format!("its data are compressed as `{other}`"))),
    })
}

/// The unpacking of one `data.tar`.
struct Data<'a> {
    staged: &'a mut Staged,
    package: &'a str,
    exclude: &'a GlobSet,
    origin: Arc<str>,
    unpacked: Unpacked,
}

impl Data<'_> {
    fn unpack(mut self, reader: impl Read) -> Result<Unpacked, DebError> {
        let mut archive = tar::Archive::new(reader);
        let package = self.package.to_owned();
        let fail = |member, cause| DebError { package: package.clone(), member, cause };
        let entries = archive.entries().map_err(|error| fail(None, DebCause::Read(error)))?;
        for entry in entries {
            let entry = entry.map_err(|error| fail(None, DebCause::Read(error)))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).escape_debug().to_string();
            self.member(entry).map_err(|cause| fail(Some(name), cause))?;
        }
        // The tar may end before its compressed stream does, whose checksum comes last.
        let mut rest = archive.into_inner().take(MAXIMUM_PADDING);
        io::copy(&mut rest, &mut io::sink()).map_err(|error| fail(None, DebCause::Read(error)))?;
        Ok(self.unpacked)
    }

    fn member<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), DebCause> {
        let path = merge_usr(&member_path(&entry.path_bytes())?);
        let kind = entry.header().entry_type();
        let mode = entry.header().mode().map_err(DebCause::Read)? & 0o7777;
        if path.as_str().is_empty() || matches(self.exclude, &path) {
            return Ok(());
        }
        if !self.staged.takes(&path) {
            if kind != EntryType::Directory {
                self.unpacked.dropped.push(path);
            }
            return Ok(());
        }
        if kind != EntryType::Directory {
            self.refuse_clash(&path)?;
        }
        match kind {
            EntryType::Directory => self.directory(&path, mode)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.staged.put_file(&path, mode, &mut entry, &self.origin)?;
            }
            EntryType::Symlink => {
                let bytes = entry.link_name_bytes().unwrap_or_default();
                let target = link_target(&path, &bytes)?;
                self.staged.put_link(&path, &target, &self.origin)?;
            }
            EntryType::Link => self.hard_link(&path, &entry.link_name_bytes().unwrap_or_default())?,
            EntryType::Char | EntryType::Block => return Err(DebCause::Forbidden("a device node")),
            EntryType::Fifo => return Err(DebCause::Forbidden("a pipe")),
            _ => return Err(DebCause::Forbidden("neither a file, a directory nor a link")),
        }
        Ok(())
    }

    fn directory(&mut self, path: &Utf8Path, mode: u32) -> Result<(), DebCause> {
        match self.staged.get(path) {
            // Two packages share it; what the first says stays.
            Some(node) if node.kind == NodeKind::Directory => Ok(()),
            _ => Ok(self.staged.put_directory(path, mode, &self.origin)?),
        }
    }

    fn hard_link(&mut self, path: &Utf8Path, target: &[u8]) -> Result<(), DebCause> {
        let target = merge_usr(&member_path(target)?);
        match self.staged.get(&target) {
            Some(node) if node.origin == self.origin && matches!(node.kind, NodeKind::File { .. }) => {
                Ok(self.staged.put_hard_link(path, &target, &self.origin)?)
            }
            _ => Err(DebCause::HardLink(target)),
        }
    }

    fn refuse_clash(&self, path: &Utf8Path) -> Result<(), DebCause> {
        match self.staged.get(path) {
            Some(node) if node.kind != NodeKind::Directory && node.origin != self.origin => {
                Err(DebCause::Clash(Arc::clone(&node.origin)))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;
    use std::io::Write as _;

    use super::*;

    /// Name, kind, target of a link, contents.
    type Member<'a> = (&'a [u8], EntryType, &'a [u8], &'a [u8]);

    /// A tar whose names are written as they are, which the tar crate's builder would refuse.
    fn tar(members: &[Member<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, link, contents) in members {
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name);
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_size(contents.len() as u64);
            header.set_cksum();
            builder.append(&header, *contents).expect("appended");
        }
        builder.into_inner().expect("a tar")
    }

    fn deb(suffix: &str, data: &[u8]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        let data_name = format!("data.tar{suffix}");
        for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", b""), (&data_name, data)] {
            let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
            builder.append(&header, bytes).expect("appended");
        }
        builder.into_inner().expect("a package")
    }

    fn unpacked(bytes: &[u8]) -> Result<(Vec<String>, Unpacked), String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let path = Utf8Path::from_path(file.path()).expect("UTF-8");
        match unpack(&mut staged, path, "bad_1_amd64.deb", &GlobSet::empty()) {
            Ok(unpacked) => Ok((staged.nodes().map(|(path, _)| path.to_string()).collect(), unpacked)),
            Err(error) => Err(format!("{error}: {}", error.source().expect("a cause"))),
        }
    }

    #[test]
    fn every_compression_is_read_and_streams_may_be_concatenated() {
        let data = tar(&[
            (b"./lib/x", EntryType::Regular, b"", b"hello"),
            (b"./etc/x", EntryType::Regular, b"", b"y"),
        ]);
        let (left, right) = data.split_at(700);
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).expect("compressed");
            encoder.finish().expect("compressed")
        };
        let xz = |bytes: &[u8]| liblzma::encode_all(bytes, 1).expect("compressed");
        let zst = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("compressed");
        let packed = [
            ("", data.clone()),
            (".gz", [gzip(left), gzip(right)].concat()),
            (".xz", [xz(left), xz(right)].concat()),
            (".zst", [zst(left), zst(right)].concat()),
        ];
        for (suffix, bytes) in packed {
            let (paths, unpacked) = unpacked(&deb(suffix, &bytes)).expect("unpacked");
            assert_eq!(paths, ["usr", "usr/lib", "usr/lib/x"], "{suffix}");
            assert_eq!(unpacked.dropped, ["etc/x"], "{suffix}");
        }
    }

    #[test]
    fn hostile_packages_are_refused_with_package_and_member() {
        let evil: &[(&str, Vec<u8>)] = &[
            ("absolute", tar(&[(b"/usr/bin/x", EntryType::Regular, b"", b"x")])),
            ("upwards", tar(&[(b"./usr/../../x", EntryType::Regular, b"", b"x")])),
            ("not UTF-8", tar(&[(b"./usr/\xfe", EntryType::Regular, b"", b"x")])),
            ("link that climbs out", tar(&[(b"./usr/x", EntryType::Symlink, b"../../../etc", b"")])),
            (
                "through a link",
                tar(&[
                    (b"./usr/x", EntryType::Symlink, b"/etc", b""),
                    (b"./usr/x/shadow", EntryType::Regular, b"", b"x"),
                ]),
            ),
            ("hard link out", tar(&[(b"./usr/x", EntryType::Link, b"/etc/shadow", b"")])),
            ("hard link to nothing", tar(&[(b"./usr/x", EntryType::Link, b"./usr/y", b"")])),
            ("device", tar(&[(b"./usr/x", EntryType::Char, b"", b"")])),
            ("pipe", tar(&[(b"./usr/x", EntryType::Fifo, b"", b"")])),
        ];
        let told: Vec<String> = evil
            .iter()
            .map(|(what, data)| format!("{what}: {}", unpacked(&deb("", data)).expect_err(what)))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn a_broken_package_is_told_from_a_wrong_one() {
        let truncated = deb(".xz", &liblzma::encode_all(&tar(&[])[..], 1).expect("compressed")[..40]);
        let told: Vec<String> = [&b"not a package"[..], &truncated, &deb(".lzma", b"")]
            .into_iter()
            .map(|bytes| unpacked(bytes).expect_err("broken"))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn excluded_paths_stay_out() {
        let data = tar(&[
            (b"./usr/share/doc/x/copyright", EntryType::Regular, b"", b"x"),
            (b"./usr/bin/x", EntryType::Regular, b"", b"x"),
        ]);
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), deb("", &data)).expect("written");
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let exclude = globset::GlobSetBuilder::new()
            .add(globset::Glob::new("/usr/share/doc/**").expect("a glob"))
            .build()
            .expect("globs");
        unpack(&mut staged, Utf8Path::from_path(file.path()).expect("UTF-8"), "x.deb", &exclude)
            .expect("unpacked");
        let paths: Vec<_> = staged.nodes().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["usr", "usr/bin", "usr/bin/x"]);
    }
}
