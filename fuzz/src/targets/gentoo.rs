// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::io::{Cursor, Read as _};

use loadgauge_builder::gentoo::atom::Atom;
use loadgauge_builder::gentoo::compression::Compression;
use loadgauge_builder::gentoo::dependency::{parse, reduce};
use loadgauge_builder::gentoo::index::Index;
use loadgauge_builder::gentoo::package::Package;
use loadgauge_builder::gentoo::version::{Version, split_name};
use loadgauge_builder::gentoo::{gpkg as container, xpak as segment};

use super::checksum::repair_tar;
use super::{seeds, text_of};

/// Compares two versions, one per line: the comparison must be antisymmetric.
pub(super) fn version(bytes: &[u8]) {
    let Some(text) = text_of(bytes) else { return };
    let _ = split_name(text);
    let mut lines = text.lines().map(Version::parse);
    if let (Some(Ok(left)), Some(Ok(right))) = (lines.next(), lines.next()) {
        assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
        assert!(left.cmp(&left).is_eq());
    }
}

pub(super) fn versions() -> Vec<Vec<u8>> {
    seeds(["1.0_rc1-r2\n1.0", "1.02a\n1.2b", "app-misc/foo-1.0-r1\n1", "9999_p20250101\n9999"])
}

/// Parses an atom: a formatted atom must parse to the same value.
pub(super) fn atom(bytes: &[u8]) {
    let Some(text) = text_of(bytes) else { return };
    if let Ok(atom) = Atom::parse(text) {
        assert_eq!(Atom::parse(&atom.to_string()).as_ref(), Ok(&atom));
    }
}

pub(super) fn atoms() -> Vec<Vec<u8>> {
    seeds([
        ">=dev-libs/bar-1.2:0/3=[ssl,-x,!y?,z(+)=]",
        "!!<app-misc/foo-1_alpha-r3",
        "=sys-libs/base-2*::gentoo",
        "~a/b-1:*",
    ])
}

pub(super) fn dependency(bytes: &[u8]) {
    let Some(text) = text_of(bytes) else { return };
    if let Ok(items) = parse(text) {
        let written: Vec<String> = items.iter().map(ToString::to_string).collect();
        assert_eq!(parse(&written.join(" ")).as_ref(), Ok(&items));
        reduce(&items, &BTreeSet::new());
    }
}

pub(super) fn dependencies() -> Vec<Vec<u8>> {
    seeds(["|| ( a/b ( c/d e/f ) ) ssl? ( >=g/h-1:= ) !x? ( !i/j )", "a/b c/d:0"])
}

pub(super) fn index(bytes: &[u8]) {
    let Ok(index) = Index::read(bytes) else { return };
    for metadata in &index.packages {
        let _ = Package::of_index(metadata);
    }
}

pub(super) fn indices() -> Vec<Vec<u8>> {
    let text = "ARCH: amd64\nVERSION: 0\n\nCPV: app-misc/foo-1.0-r1\nSLOT: 0/1.2\nUSE: ssl\nIUSE: ssl x\nBUILD_ID: 1\n\
                RDEPEND: a/b:0= || ( c/d e/f )\nPATH: app-misc/foo/foo-1.0-r1-1.xpak\nSIZE: 3\nSHA1: 00\n\nCPV: a/b-2\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).expect("compressed");
    vec![text.as_bytes().to_vec(), gzip.finish().expect("compressed")]
}

pub(super) fn xpak(bytes: &[u8]) {
    let _ = segment::parse(bytes);
    if let Ok((length, _)) = segment::read_end(&mut Cursor::new(bytes)) {
        assert!(length <= bytes.len() as u64, "what stands before the segment is inside the file");
    }
}

/// Returns a segment with two entries, alone and at the end of a file.
pub(super) fn xpaks() -> Vec<Vec<u8>> {
    let entries = [("CATEGORY", "app-misc\n"), ("PF", "foo-1\n")];
    let (mut index, mut data) = (Vec::new(), Vec::new());
    let number = |count: usize| u32::try_from(count).unwrap_or(0).to_be_bytes();
    for (name, value) in entries {
        index.extend(number(name.len()));
        index.extend(name.as_bytes());
        index.extend(number(data.len()));
        index.extend(number(value.len()));
        data.extend(value.as_bytes());
    }
    let segment =
        [b"XPAKPACK".as_slice(), &number(index.len()), &number(data.len()), &index, &data, b"XPAKSTOP"]
            .concat();
    let file = [b"a compressed tar".as_slice(), &segment, &number(segment.len()), b"STOP"].concat();
    vec![segment, file]
}

pub(super) fn gpkg(bytes: &[u8]) {
    let _ = container::read(&mut Cursor::new(bytes));
    let mut repaired = bytes.to_vec();
    repair_tar(&mut repaired);
    let _ = container::read(&mut Cursor::new(&repaired));
    if let Ok(decoder) = Compression::of(bytes).decoder(bytes) {
        let _ = decoder.take(1 << 20).read_to_end(&mut Vec::new());
    }
}

/// Returns a container with all required members, whose Manifest describes one of them wrongly.
pub(super) fn gpkgs() -> Vec<Vec<u8>> {
    let mut container = tar::Builder::new(Vec::new());
    let mut inner = tar::Builder::new(Vec::new());
    let append = |builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).expect("appended");
    };
    append(&mut inner, "metadata/PF", b"foo-1\n");
    let inner = inner.into_inner().expect("a tar");
    append(&mut container, "foo-1/gpkg-1", b"");
    append(&mut container, "foo-1/metadata.tar", &inner);
    append(&mut container, "foo-1/image.tar", &inner);
    append(&mut container, "foo-1/Manifest", b"DATA metadata.tar 2048 SHA512 00 BLAKE2B 00\nDATA gpkg-1 0\n");
    vec![container.into_inner().expect("a tar")]
}
