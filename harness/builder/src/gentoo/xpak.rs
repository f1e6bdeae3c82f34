// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

/// Limit of an xpak segment in bytes; the largest entry of Portage's, `environment.bz2`, has some tens of
/// kilobytes.
const MAXIMUM_SIZE: u64 = 64 << 20;
/// Bytes after the segment: its length and `STOP`.
const TRAILER: u64 = 8;

/// The entries of an xpak segment by name.
pub type Entries = BTreeMap<String, Vec<u8>>;

/// A package file that is not in Portage's xpak format.
#[derive(Debug, thiserror::Error)]
pub enum XpakError {
    /// the file cannot be read
    #[error("cannot read the package file")]
    Read(#[source] io::Error),
    /// the layout is invalid
    #[error("not an xpak package: {0}")]
    Layout(&'static str),
}

/// Reads the xpak segment at the end of a package file; returns the length of the compressed tar before
/// it, and the entries.
///
/// Format: xpak(5) of Portage. The file ends with the length of the segment, a big-endian 32-bit number,
/// and `STOP`.
///
/// # Errors
/// The file cannot be read, or the segment is invalid.
pub fn read_end(file: &mut (impl Read + Seek)) -> Result<(u64, Entries), XpakError> {
    let end = file.seek(SeekFrom::End(0)).map_err(XpakError::Read)?;
    let trailer_start = end.checked_sub(TRAILER).ok_or(XpakError::Layout("the file is too short"))?;
    let trailer = read_at(file, trailer_start, TRAILER)?;
    let length = match trailer.split_last_chunk::<4>() {
        Some((length, b"STOP")) => u64::from(number(length).unwrap_or(0)),
        _ => return Err(XpakError::Layout("the file does not end with `STOP`")),
    };
    if length > MAXIMUM_SIZE {
        return Err(XpakError::Layout("the segment is larger than 64 MiB"));
    }
    let start =
        trailer_start.checked_sub(length).ok_or(XpakError::Layout("the segment is longer than the file"))?;
    Ok((start, parse(&read_at(file, start, length)?)?))
}

/// Parses a segment, from `XPAKPACK` to `XPAKSTOP`.
///
/// # Errors
/// The segment is invalid.
pub fn parse(segment: &[u8]) -> Result<Entries, XpakError> {
    let layout = |what| move || XpakError::Layout(what);
    let inside =
        segment.strip_prefix(b"XPAKPACK").ok_or_else(layout("the segment does not start with `XPAKPACK`"))?;
    let inside =
        inside.strip_suffix(b"XPAKSTOP").ok_or_else(layout("the segment does not end with `XPAKSTOP`"))?;
    let short = layout("the segment is shorter than its length fields");
    let (index_length, inside) = take_number(inside).ok_or_else(&short)?;
    let (data_length, inside) = take_number(inside).ok_or_else(&short)?;
    let (mut index, data) = inside.split_at_checked(index_length).ok_or_else(&short)?;
    if data.len() != data_length {
        return Err(XpakError::Layout("the segment and its length fields differ"));
    }
    let mut entries = Entries::new();
    while !index.is_empty() {
        let (name, value, rest) =
            take_entry(index, data).ok_or_else(layout("an entry exceeds the segment"))?;
        let name =
            std::str::from_utf8(name).map_err(|_| XpakError::Layout("the name of an entry is not UTF-8"))?;
        if entries.insert(name.to_owned(), value.to_vec()).is_some() {
            return Err(XpakError::Layout("two entries have the same name"));
        }
        index = rest;
    }
    Ok(entries)
}

type Entry<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits the first entry off an index: its name, its value, and the rest of the index.
fn take_entry<'a>(index: &'a [u8], data: &'a [u8]) -> Option<Entry<'a>> {
    let (length, rest) = take_number(index)?;
    let (name, rest) = rest.split_at_checked(length)?;
    let (offset, rest) = take_number(rest)?;
    let (length, rest) = take_number(rest)?;
    let value = data.get(offset..offset.checked_add(length)?)?;
    Some((name, value, rest))
}

fn take_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_be_bytes(*number)).ok()?, rest))
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk::<4>()?))
}

fn read_at(file: &mut (impl Read + Seek), start: u64, length: u64) -> Result<Vec<u8>, XpakError> {
    file.seek(SeekFrom::Start(start)).map_err(XpakError::Read)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact(&mut bytes).map_err(XpakError::Read)?;
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn length(bytes: &[u8]) -> [u8; 4] {
        u32::try_from(bytes.len()).expect("small").to_be_bytes()
    }

    /// A segment as Portage writes it.
    pub(in crate::gentoo) fn segment(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (name, value) in entries {
            index.extend(length(name.as_bytes()));
            index.extend(name.as_bytes());
            index.extend(length(&data));
            index.extend(length(value));
            data.extend(*value);
        }
        [&b"XPAKPACK"[..], &length(&index), &length(&data), &index, &data, b"XPAKSTOP"].concat()
    }

    /// A package file: a tar, a segment, and the trailer.
    pub(in crate::gentoo) fn package(tar: &[u8], entries: &[(&str, &[u8])]) -> Vec<u8> {
        let segment = segment(entries);
        [tar, &segment, &length(&segment), b"STOP"].concat()
    }

    #[test]
    fn the_entries_and_the_length_of_the_tar_are_read() {
        let bytes = package(b"a tar", &[("SLOT", b"0\n"), ("EMPTY", b""), ("RDEPEND", b"a/b\n")]);
        let (tar, entries) = read_end(&mut Cursor::new(&bytes)).expect("a package");
        assert_eq!(tar, 5);
        assert_eq!(entries["SLOT"], b"0\n");
        assert_eq!((entries["EMPTY"].len(), entries["RDEPEND"].as_slice()), (0, &b"a/b\n"[..]));
    }

    #[test]
    fn every_truncation_is_detected() {
        let bytes = package(b"a tar", &[("SLOT", b"0\n"), ("RDEPEND", b"a/b\n")]);
        for length in 0..bytes.len() {
            assert!(read_end(&mut Cursor::new(&bytes[..length])).is_err(), "{length}");
        }
        let good = segment(&[("A", b"1"), ("B", b"2")]);
        for length in 0..good.len() {
            assert!(parse(&good[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn entries_outside_the_segment_and_duplicates_are_refused() {
        let mut bytes = segment(&[("SLOT", b"0\n")]);
        let offset = bytes.len() - 8 - 2 - 8;
        bytes[offset..offset + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(parse(&bytes), Err(XpakError::Layout("an entry exceeds the segment"))));
        assert!(parse(&segment(&[("SLOT", b"0"), ("SLOT", b"1")])).is_err());
        let mut huge = package(b"", &[]);
        let place = huge.len() - 8;
        huge[place..place + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(read_end(&mut Cursor::new(&huge)).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"XPAKPACK", &bytes[..], b"XPAKSTOP"].concat());
            let _ = read_end(&mut Cursor::new([&bytes[..], b"STOP"].concat()));
        }

        #[test]
        fn one_changed_byte_never_panics(at in 0_usize..90, to in any::<u8>()) {
            let mut bytes = package(b"a tar", &[("SLOT", b"0\n"), ("RDEPEND", b"a/b\n")]);
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = read_end(&mut Cursor::new(&bytes));
        }
    }
}
