// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::{AtomicU64, Ordering};

use camino::Utf8Path;
use globset::GlobSet;
use loadgauge_builder::debian::relation::{format_alternatives, parse_alternatives, parse_relations};
use loadgauge_builder::debian::{Index, Version, unpack_package};
use loadgauge_builder::stage::Staged;

use super::checksum::repair_tar;
use super::unpack::{gzip, tars};
use super::{seeds, text_of};
use crate::canary::Canary;

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

/// The number of packages that were unpacked, or whose names were refused.
static REACHED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of inputs that were unpacked, or refused for a name.
pub(super) fn reached() -> u64 {
    REACHED.load(Ordering::Relaxed)
}

/// Unpacks a package: no file may appear outside of the stage. An input is one byte for the compression of
/// the data, and the tar with the data, whose checksums are repaired; 255 marks a whole package instead.
pub(super) fn package(bytes: &[u8]) {
    let [kind, bytes @ ..] = bytes else { return };
    let bytes = if *kind == u8::MAX { bytes.to_vec() } else { package_of(bytes, kind % 2 == 1) };
    let canary = Canary::of_process();
    let outcome = unpack(&bytes);
    canary.check();
    if outcome.is_ok() || outcome.is_err_and(|message| message.contains("leads out")) {
        REACHED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Unpacks a package. Returns the messages of an error.
fn unpack(bytes: &[u8]) -> Result<(), String> {
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
    let file = directory.join("a.deb");
    loadgauge_host::fs::write(&file, bytes).expect("written");
    let mut staged = Staged::new_in(directory).expect("a stage");
    let outcome = unpack_package(&mut staged, &file, "a.deb", &GlobSet::empty());
    assert_eq!(directory.read_dir_utf8().expect("read").count(), 2, "the package and the stage");
    drop(staged);
    assert_eq!(directory.read_dir_utf8().expect("read").count(), 1, "the package");
    outcome.map(|_| ()).map_err(|error| loadgauge_host::error::on_lines(&error))
}

/// Wraps a tar as the data of a package.
fn package_of(data: &[u8], is_compressed: bool) -> Vec<u8> {
    let mut data = data.to_vec();
    repair_tar(&mut data);
    let name = if is_compressed { "data.tar.gz" } else { "data.tar" };
    let data = if is_compressed { gzip(&data) } else { data };
    let mut deb = ar::Builder::new(Vec::new());
    for (name, bytes) in [("debian-binary", b"2.0\n".as_slice()), ("control.tar", b""), (name, &data)] {
        let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        deb.append(&header, bytes).expect("appended");
    }
    deb.into_inner().expect("an archive")
}

/// Returns the data of packages with a file, a link and a hard link, and hostile ones; and a whole package.
pub(super) fn packages() -> Vec<Vec<u8>> {
    let tars = tars();
    let whole = [&[u8::MAX], package_of(&tars[0], false).as_slice()].concat();
    let seeds =
        tars.iter().flat_map(|tar| [[&[0], tar.as_slice()].concat(), [&[1], tar.as_slice()].concat()]);
    seeds.chain([whole]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_packages_are_unpacked_and_hostile_ones_are_not() {
        let tars = tars();
        for is_compressed in [false, true] {
            assert_eq!(unpack(&package_of(&tars[0], is_compressed)), Ok(()));
            for (number, tar) in tars.iter().enumerate().skip(1) {
                let canary = Canary::of_process();
                let outcome = unpack(&package_of(tar, is_compressed));
                canary.check();
                assert!(outcome.is_err(), "{number}: {outcome:?}");
            }
        }
    }
}
