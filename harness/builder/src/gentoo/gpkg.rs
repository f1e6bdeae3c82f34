// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use super::compression::Compression;
use super::manifest::{Manifest, ManifestError, MemberDigests, MemberHasher};
use super::xpak::Entries;
use crate::tar_guard::TarGuard;

/// Limit of the members of a container; Portage writes four to seven.
const MAXIMUM_MEMBERS: usize = 64;
/// Limit of the manifest in bytes.
const MAXIMUM_MANIFEST: u64 = 1 << 20;
/// Limit of the decompressed metadata in bytes.
const MAXIMUM_METADATA: u64 = 64 << 20;

/// The contents of a container.
#[derive(Debug)]
pub struct Container {
    /// the metadata by key
    pub entries: Entries,
    /// offset of the compressed tar of the files, in bytes
    pub image_start: u64,
    /// its length in bytes
    pub image_length: u64,
}

/// A package file that is not in the gpkg format or is damaged.
#[derive(Debug, thiserror::Error)]
pub enum GpkgError {
    /// the file cannot be read or decompressed
    #[error("cannot read the package file")]
    Read(#[source] io::Error),
    /// the layout is invalid
    #[error("not a gpkg package: {0}")]
    Layout(String),
    /// a member differs from the manifest
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The position of a member in the file.
#[derive(Debug, Clone, Copy)]
struct ByteRange {
    start: u64,
    length: u64,
}

/// Reads a container, and checks every member against the manifest.
///
/// Format: GLEP 78, an uncompressed tar with `NAME/gpkg-1`, `NAME/metadata.tar.*`, `NAME/image.tar.*` and,
/// as the last member, `NAME/Manifest`. Signatures are not verified.
///
/// # Errors
/// See [`GpkgError`].
pub fn read(file: &mut (impl Read + Seek)) -> Result<Container, GpkgError> {
    file.seek(SeekFrom::Start(0)).map_err(GpkgError::Read)?;
    let Members { manifest, digests, ranges } = read_members(file)?;
    manifest.check(&digests)?;
    if !ranges.contains_key("gpkg-1") {
        return Err(GpkgError::Layout("no member `gpkg-1`".to_owned()));
    }
    let metadata = single(&ranges, "metadata.tar")?;
    let image = single(&ranges, "image.tar")?;
    file.seek(SeekFrom::Start(metadata.start)).map_err(GpkgError::Read)?;
    let entries = read_metadata(file.take(metadata.length))?;
    Ok(Container { entries, image_start: image.start, image_length: image.length })
}

/// The members of a container, by name.
struct Members {
    manifest: Manifest,
    digests: BTreeMap<String, MemberDigests>,
    ranges: BTreeMap<String, ByteRange>,
}

/// Reads all members in one pass, since the manifest is the last.
fn read_members(file: &mut impl Read) -> Result<Members, GpkgError> {
    let (mut digests, mut ranges) = (BTreeMap::new(), BTreeMap::new());
    let mut manifest = None;
    let mut directory: Option<String> = None;
    let mut archive = tar::Archive::new(TarGuard::new(file));
    for entry in archive.entries().map_err(GpkgError::Read)? {
        let mut entry = entry.map_err(GpkgError::Read)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let layout = |what: &str| GpkgError::Layout(format!("the member `{}` {what}", path.escape_debug()));
        if entry.header().entry_type() == tar::EntryType::Directory {
            continue;
        }
        let (parent, name) = path.split_once('/').ok_or_else(|| layout("is not in a directory"))?;
        if entry.header().entry_type() != tar::EntryType::Regular || name.contains('/') {
            return Err(layout("is not a file in the directory of the package"));
        }
        if *directory.get_or_insert_with(|| parent.to_owned()) != *parent {
            return Err(layout("is in a different directory than the first"));
        }
        if manifest.is_some() || digests.len() >= MAXIMUM_MEMBERS {
            return Err(layout("follows the manifest or exceeds the limit of members"));
        }
        if name == "Manifest" {
            let mut text = String::new();
            entry.take(MAXIMUM_MANIFEST).read_to_string(&mut text).map_err(GpkgError::Read)?;
            manifest = Some(Manifest::parse(&text)?);
            continue;
        }
        let range = ByteRange { start: entry.raw_file_position(), length: entry.size() };
        if ranges.insert(name.to_owned(), range).is_some() {
            return Err(layout("exists twice"));
        }
        digests.insert(name.to_owned(), digest(&mut entry)?);
    }
    let manifest = manifest.ok_or_else(|| GpkgError::Layout("no member `Manifest`".to_owned()))?;
    Ok(Members { manifest, digests, ranges })
}

fn digest(entry: &mut impl Read) -> Result<MemberDigests, GpkgError> {
    let mut hasher = MemberHasher::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match entry.read(&mut buffer).map_err(GpkgError::Read)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// The only member whose name is `stem`, with or without the suffix of a compression.
fn single(ranges: &BTreeMap<String, ByteRange>, stem: &str) -> Result<ByteRange, GpkgError> {
    let mut found = ranges.iter().filter(|(name, _)| {
        let rest = name
            .strip_prefix(stem)
            .and_then(|rest| if rest.is_empty() { Some("") } else { rest.strip_prefix('.') });
        // `image.tar.zst.sig` is a signature.
        rest.is_some_and(|rest| rest.split('.').next_back() != Some("sig"))
    });
    match (found.next(), found.next()) {
        (Some((_, range)), None) => Ok(*range),
        (None, _) => Err(GpkgError::Layout(format!("no member `{stem}`"))),
        (Some(_), Some(_)) => Err(GpkgError::Layout(format!("two members `{stem}`"))),
    }
}

/// Reads the members `metadata/KEY` of the metadata.
fn read_metadata(mut compressed: impl Read) -> Result<Entries, GpkgError> {
    let mut head = [0; 6];
    let length = read_head(&mut compressed, &mut head).map_err(GpkgError::Read)?;
    let whole = (&head[..length]).chain(compressed);
    let decoder = Compression::of(&head[..length]).decoder(whole).map_err(GpkgError::Read)?;
    let mut archive = tar::Archive::new(decoder.take(MAXIMUM_METADATA));
    let mut entries = Entries::new();
    for entry in archive.entries().map_err(GpkgError::Read)? {
        let mut entry = entry.map_err(GpkgError::Read)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(key) = path.strip_prefix("metadata/").filter(|key| !key.is_empty()) else { continue };
        if entry.header().entry_type() != tar::EntryType::Regular || key.contains('/') {
            return Err(GpkgError::Layout(format!(
                "unexpected member `{}` in the metadata",
                path.escape_debug()
            )));
        }
        let mut value = Vec::new();
        entry.read_to_end(&mut value).map_err(GpkgError::Read)?;
        if entries.insert(key.to_owned(), value).is_some() {
            return Err(GpkgError::Layout(format!("duplicate key `{key}` in the metadata")));
        }
    }
    Ok(entries)
}

/// Reads until the buffer is full or the input ends; returns the number of bytes.
pub(super) fn read_head(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..])? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fmt::Write as _;
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    pub(in crate::gentoo) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, name, *bytes).expect("appended");
        }
        builder.into_inner().expect("a tar")
    }

    fn manifest(members: &[(&str, &[u8])]) -> String {
        let mut text = String::new();
        for (name, bytes) in members {
            let found = digest(&mut &bytes[..]).expect("read");
            writeln!(text, "DATA {name} {} SHA512 {} BLAKE2B {}", found.size, found.sha512, found.blake2b)
                .expect("written");
        }
        text
    }

    /// A container with these members and a manifest.
    pub(in crate::gentoo) fn container(members: &[(&str, &[u8])]) -> Vec<u8> {
        let text = manifest(members);
        let mut all: Vec<(String, &[u8])> =
            members.iter().map(|(name, bytes)| (format!("foo-1/{name}"), *bytes)).collect();
        all.push(("foo-1/Manifest".to_owned(), text.as_bytes()));
        tar(&all.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect::<Vec<_>>())
    }

    fn metadata() -> Vec<u8> {
        zstd::encode_all(&tar(&[("metadata/SLOT", b"0\n"), ("metadata/PF", b"foo-1\n")])[..], 1)
            .expect("packed")
    }

    #[test]
    fn metadata_and_the_position_of_the_files_are_read() {
        let (metadata, image) = (metadata(), tar(&[("image/usr/bin/foo", b"foo")]));
        let members: [(&str, &[u8]); 4] = [
            ("gpkg-1", b""),
            ("metadata.tar.zst", &metadata),
            ("metadata.tar.zst.sig", b"s"),
            ("image.tar", &image),
        ];
        let bytes = container(&members);
        let found = read(&mut Cursor::new(&bytes)).expect("a container");
        assert_eq!(found.entries["SLOT"], b"0\n");
        let start = usize::try_from(found.image_start).expect("small");
        assert_eq!(&bytes[start..start + image.len()], image);
    }

    #[test]
    fn damaged_and_malformed_containers_are_refused_with_the_reason() {
        let metadata = metadata();
        let good: [(&str, &[u8]); 3] =
            [("gpkg-1", b""), ("metadata.tar.zst", &metadata), ("image.tar.zst", b"x")];
        let whole = container(&good);
        let mut changed = whole.clone();
        let place = whole.windows(metadata.len()).position(|part| part == metadata).expect("there");
        changed[place + 9] ^= 1;
        let invalid: &[(&str, Vec<u8>)] = &[
            ("changed", changed),
            ("cut off", whole[..whole.len() - 2048].to_vec()),
            ("no manifest", tar(&[("foo-1/gpkg-1", b"")])),
            ("no marker", container(&good[1..])),
            ("no image", container(&good[..2])),
            ("two images", container(&[good[0], good[1], good[2], ("image.tar.xz", b"y")])),
            ("nested", tar(&[("foo-1/a/b", b"")])),
            ("another directory", tar(&[("foo-1/a", b""), ("foo-2/b", b"")])),
        ];
        let errors: Vec<String> = invalid
            .iter()
            .map(|(what, bytes)| {
                let error = read(&mut Cursor::new(bytes)).expect_err(what).to_string();
                format!(
                    "{what}: {}",
                    error
                        .split('`')
                        .enumerate()
                        .map(|(at, part)| if at % 2 == 1 && part.len() > 40 { "HEX" } else { part })
                        .collect::<Vec<_>>()
                        .join("`")
                )
            })
            .collect();
        insta::assert_snapshot!(errors.join("\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn one_changed_byte_is_detected_or_harmless(at in any::<proptest::sample::Index>(), to in any::<u8>()) {
            let metadata = metadata();
            let mut bytes = container(&[("gpkg-1", b""), ("metadata.tar.zst", &metadata), ("image.tar.zst", b"x")]);
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(found) = read(&mut Cursor::new(&bytes)) {
                prop_assert_eq!(&found.entries["SLOT"], b"0\n");
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(&mut Cursor::new(&bytes));
        }
    }
}
