// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use globset::GlobSet;
use loadgauge_builder::debian::relation::{format_alternatives, parse_alternatives, parse_relations};
use loadgauge_builder::debian::{Index, Version, unpack_package};
use loadgauge_builder::stage::Staged;

use super::{seeds, text_of};

/// Compares two versions, one per line: the comparison must be antisymmetric.
pub(super) fn version(bytes: &[u8]) {
    let Some(text) = text_of(bytes) else { return };
    let mut versions = text.lines().map(str::parse::<Version>);
    if let (Some(Ok(left)), Some(Ok(right))) = (versions.next(), versions.next()) {
        assert_eq!(left.cmp(&right), right.cmp(&left).reverse(), "{left} {right}");
        assert!(left.cmp(&left).is_eq(), "{left}");
    }
}

pub(super) fn versions() -> Vec<Vec<u8>> {
    seeds(["1:2.3~rc1-4+deb13u1\n1:2.3-4", "0~~a\n0", "2.41-12+b3\n2.41-12", "1.0-\n1.0"])
}

/// Parses relations: formatted relations must parse to the same value.
pub(super) fn relation(bytes: &[u8]) {
    let Some(text) = text_of(bytes) else { return };
    let _ = parse_relations(text);
    if let Ok(all) = parse_alternatives(text) {
        let written: Vec<String> = all.iter().map(|one| format_alternatives(one)).collect();
        assert_eq!(parse_alternatives(&written.join(", ")).ok().as_ref(), Some(&all), "{written:?}");
    }
}

pub(super) fn relations() -> Vec<Vec<u8>> {
    seeds([
        "libc6 (>= 2.41), crun | runc (<< 2:1.0~), python3:any",
        "docker.io [amd64 !arm64], foo <!nocheck> (= 1.0-1)",
        "a (>> 1),b(<=2) | c",
    ])
}

pub(super) fn index(bytes: &[u8]) {
    for index in [Index::of_archive(bytes.to_vec()), Index::of_status(bytes.to_vec())] {
        for name in index.names() {
            let _ = index.named(name);
            let _ = index.providing(name);
        }
    }
}

pub(super) fn indices() -> Vec<Vec<u8>> {
    seeds([
        "Package: a\nVersion: 1\nArchitecture: amd64\nDepends: b (>= 1) | c,\n d\nProvides: e (= 2), f\nSize: 12\n\
         SHA256: 00\nFilename: pool/a.deb\n\nPackage: b\nVersion: 1:2~3\nEssential: yes\n",
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 2.41\n\
         Breaks: x (<< 1)\nConffiles:\n /etc/x 123\nDescription: long\n .\n text\n",
    ])
}

/// Unpacks a package: no file may appear outside of the stage.
pub(super) fn package(bytes: &[u8]) {
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
    let file = directory.join("a.deb");
    loadgauge_host::fs::write(&file, bytes).expect("written");
    let mut staged = Staged::new_in(directory).expect("a stage");
    let _ = unpack_package(&mut staged, &file, "a.deb", &GlobSet::empty());
    assert_eq!(directory.read_dir_utf8().expect("read").count(), 2, "the package and the stage");
    drop(staged);
    assert_eq!(directory.read_dir_utf8().expect("read").count(), 1, "the package");
}

/// Returns packages with a file, a link and a hard link, plain and compressed.
pub(super) fn packages() -> Vec<Vec<u8>> {
    let mut data = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(4);
    data.append_data(&mut header, "./usr/bin/tool", b"tool".as_slice()).expect("appended");
    header.set_size(0);
    for (kind, name, target) in [
        (tar::EntryType::Symlink, "./usr/bin/link", "tool"),
        (tar::EntryType::Link, "./usr/bin/hard", "./usr/bin/tool"),
    ] {
        header.set_entry_type(kind);
        data.append_link(&mut header, name, target).expect("appended");
    }
    let data = data.into_inner().expect("a tar");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &data).expect("compressed");
    [("data.tar", data), ("data.tar.gz", gzip.finish().expect("compressed"))]
        .map(|(name, data)| {
            let mut deb = ar::Builder::new(Vec::new());
            for (name, bytes) in [("debian-binary", b"2.0\n".as_slice()), ("control.tar", b""), (name, &data)]
            {
                let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
                deb.append(&header, bytes).expect("appended");
            }
            deb.into_inner().expect("an archive")
        })
        .into()
}
