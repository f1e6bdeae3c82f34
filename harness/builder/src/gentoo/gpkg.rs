// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use super::compression::Compression;
use super::manifest::{Manifest, ManifestError, Measured, Meter};
use super::xpak::Entries;

/// Members that a container may have: real ones have four to seven.
const MAXIMUM_MEMBERS: usize = 64;
/// Bytes of a manifest.
const MAXIMUM_MANIFEST: u64 = 1 << 20;
/// Bytes of all metadata when unpacked.
const MAXIMUM_METADATA: u64 = 64 << 20;

/// What a container holds.
#[derive(Debug)]
pub struct Container {
    /// the metadata, by key
    pub entries: Entries,
    /// where the compressed tar of the files begins, in bytes
    pub image_start: u64,
    /// its length in bytes
    pub image_length: u64,
}

/// A package file that is not in the gpkg format, or that is damaged.
#[derive(Debug, thiserror::Error)]
pub enum GpkgError {
    /// its bytes, or their compression
    #[error("its bytes cannot be read")]
    Read(#[source] io::Error),
    /// the format is another
    #[error("it is no gpkg package: {0}")]
    Layout(String),
    /// it was changed or damaged
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Where a member's bytes lie.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u64,
    length: u64,
}

/// Reads a container, and compares every member with the manifest.
///
/// Format: GLEP 78. A tar that is not compressed, with `NAME/gpkg-1`, `NAME/metadata.tar.*`,
/// `NAME/image.tar.*` and, at the end, `NAME/Manifest`. Signatures are not judged.
///
/// # Errors
/// See [`GpkgError`].
pub fn read(file: &mut (impl Read + Seek)) -> Result<Container, GpkgError> {
    file.seek(SeekFrom::Start(0)).map_err(GpkgError::Read)?;
    let (manifest, measured, places) = survey(file)?;
    manifest.check(&measured)?;
    if !places.contains_key("gpkg-1") {
        return Err(GpkgError::Layout("it has no member `gpkg-1`".to_owned()));
    }
    let metadata = one(&places, "metadata.tar")?;
    let image = one(&places, "image.tar")?;
    file.seek(SeekFrom::Start(metadata.start)).map_err(GpkgError::Read)?;
    let entries = read_metadata(file.take(metadata.length))?;
    Ok(Container { entries, image_start: image.start, image_length: image.length })
}

type Survey = (Manifest, BTreeMap<String, Measured>, BTreeMap<String, Place>);

/// Looks at all members once: the manifest comes last.
fn survey(file: &mut impl Read) -> Result<Survey, GpkgError> {
    let (mut measured, mut places) = (BTreeMap::new(), BTreeMap::new());
    let mut manifest = None;
    let mut directory: Option<String> = None;
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries().map_err(GpkgError::Read)? {
        let mut entry = entry.map_err(GpkgError::Read)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let layout = |what: &str| GpkgError::Layout(format!("its member `{}` {what}", path.escape_debug()));
        if entry.header().entry_type() == tar::EntryType::Directory {
            continue;
        }
        let (above, name) = path.split_once('/').ok_or_else(|| layout("is not in a directory"))?;
        if entry.header().entry_type() != tar::EntryType::Regular || name.contains('/') {
            return Err(layout("is not a file in the directory of the package"));
        }
        if *directory.get_or_insert_with(|| above.to_owned()) != *above {
            return Err(layout("is in another directory than the first"));
        }
        if manifest.is_some() || measured.len() >= MAXIMUM_MEMBERS {
            return Err(layout("is one too many"));
        }
        if name == "Manifest" {
            let mut text = String::new();
            entry.take(MAXIMUM_MANIFEST).read_to_string(&mut text).map_err(GpkgError::Read)?;
            manifest = Some(Manifest::parse(&text)?);
            continue;
        }
        let place = Place { start: entry.raw_file_position(), length: entry.size() };
        if places.insert(name.to_owned(), place).is_some() {
            return Err(layout("is there twice"));
        }
        measured.insert(name.to_owned(), measure(&mut entry)?);
    }
    let manifest = manifest.ok_or_else(|| GpkgError::Layout("it has no manifest".to_owned()))?;
    Ok((manifest, measured, places))
}

fn measure(entry: &mut impl Read) -> Result<Measured, GpkgError> {
    let mut meter = Meter::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match entry.read(&mut buffer).map_err(GpkgError::Read)? {
            0 => return Ok(meter.finish()),
            length => meter.update(&buffer[..length]),
        }
    }
}

/// The one member whose name is `stem`, with the suffix of a compression or without.
fn one(places: &BTreeMap<String, Place>, stem: &str) -> Result<Place, GpkgError> {
    let mut found = places.iter().filter(|(name, _)| {
        let rest = name
            .strip_prefix(stem)
            .and_then(|rest| if rest.is_empty() { Some("") } else { rest.strip_prefix('.') });
        // `image.tar.zst.sig` is the signature of it.
        rest.is_some_and(|rest| rest.split('.').next_back() != Some("sig"))
    });
    match (found.next(), found.next()) {
        (Some((_, place)), None) => Ok(*place),
        (None, _) => Err(GpkgError::Layout(format!("it has no member `{stem}`"))),
        (Some(_), Some(_)) => Err(GpkgError::Layout(format!("it has two members `{stem}`"))),
    }
}

/// Reads `metadata/KEY` of the metadata.
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
            return Err(GpkgError::Layout(format!("its metadata hold `{}`", path.escape_debug())));
        }
        let mut value = Vec::new();
        entry.read_to_end(&mut value).map_err(GpkgError::Read)?;
        if entries.insert(key.to_owned(), value).is_some() {
            return Err(GpkgError::Layout(format!("its metadata hold `{key}` twice")));
        }
    }
    Ok(entries)
}

/// Reads as many bytes as there are, up to the length of the buffer.
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
            let found = measure(&mut &bytes[..]).expect("measured");
            writeln!(text, "DATA {name} {} SHA512 {} BLAKE2B {}", found.size, found.sha512, found.blake2b)
                .expect("written");
        }
        text
    }

    /// A container with these members and a manifest of them.
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
    fn metadata_and_the_place_of_the_files_are_found() {
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
    fn what_is_damaged_or_of_another_form_is_refused_with_the_reason() {
        let metadata = metadata();
        let good: [(&str, &[u8]); 3] =
            [("gpkg-1", b""), ("metadata.tar.zst", &metadata), ("image.tar.zst", b"x")];
        let whole = container(&good);
        let mut changed = whole.clone();
        let place = whole.windows(metadata.len()).position(|part| part == metadata).expect("there");
        changed[place + 9] ^= 1;
        let wrong: &[(&str, Vec<u8>)] = &[
            ("changed", changed),
            ("cut off", whole[..whole.len() - 2048].to_vec()),
            ("no manifest", tar(&[("foo-1/gpkg-1", b"")])),
            ("no marker", container(&good[1..])),
            ("no image", container(&good[..2])),
            ("two images", container(&[good[0], good[1], good[2], ("image.tar.xz", b"y")])),
            ("nested", tar(&[("foo-1/a/b", b"")])),
            ("another directory", tar(&[("foo-1/a", b""), ("foo-2/b", b"")])),
        ];
        let told: Vec<String> = wrong
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
        insta::assert_snapshot!(told.join("\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn one_changed_byte_is_found_out_or_does_no_harm(at in any::<proptest::sample::Index>(), to in any::<u8>()) {
            let metadata = metadata();
            let mut bytes = container(&[("gpkg-1", b""), ("metadata.tar.zst", &metadata), ("image.tar.zst", b"x")]);
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(found) = read(&mut Cursor::new(&bytes)) {
                prop_assert_eq!(&found.entries["SLOT"], b"0\n");
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(&mut Cursor::new(&bytes));
        }
    }
}
