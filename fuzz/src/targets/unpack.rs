// SPDX-License-Identifier: Apache-2.0
//! Builds recipes that extract a foreign file.
use std::io::{Cursor, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use camino::Utf8Path;
use loadgauge_builder::lint::BaseLinks;
use loadgauge_builder::{Format, Recipe, Target, build};
use loadgauge_host::{Store, fs};
use loadgauge_images::{Architecture, OsRelease};

use super::checksum::repair_tar;
use crate::canary::{Canary, KEPT, MADE};

pub(super) fn os_release() -> OsRelease {
    OsRelease::parse("ID=flatcar\nVERSION_ID=1.0.0\n").expect("valid")
}

/// Returns a build target without a base.
pub(super) fn target(os_release: &OsRelease) -> Target<'_> {
    Target {
        os_release,
        architecture: Architecture::Amd64,
        systemd: None,
        base: None,
        portage: None,
        root: None,
        links: BaseLinks::new(),
    }
}

/// Builds a recipe that extracts a file, and panics if the file changes anything outside of the cache.
/// Returns the messages of a failed build.
///
/// The build must not follow a link of the extension, nor create a top-level directory other than /usr
/// and /opt.
pub(super) fn build_with(section: &str, write: impl FnOnce(&Utf8Path)) -> Result<(), String> {
    let scratch = tempfile::tempdir().expect("a directory");
    let outer = Utf8Path::from_path(scratch.path()).expect("UTF-8");
    let directory = outer.join("inner");
    fs::create_dir(&directory).expect("created");
    let input = directory.join("input");
    write(&input);
    let sha256 = loadgauge_host::digest::sha256_of_file(&input).expect("read");
    let text = format!("name = \"x\"\n[[{section}]]\nsource = \"input\"\nsha256 = \"{sha256}\"\n");
    let recipe = Recipe::parse(&text, &directory.join("x.toml")).expect("a recipe");
    let os_release = os_release();
    let target = target(&os_release);
    let store = Store::at(directory.join("cache"));
    let built = build(&recipe, &target, Format::Directory, &store, &|_| {});
    assert_eq!(names(outer), ["inner"]);
    assert_eq!(names(&directory), ["cache", "input"]);
    let after = loadgauge_host::digest::sha256_of_file(&input).expect("read");
    assert_eq!(after, sha256, "the input is unchanged");
    let built = built.map_err(|error| loadgauge_host::error::on_lines(&error))?;
    let roots = names(&built.extension.path);
    assert!(roots.iter().all(|name| ["usr", "opt"].contains(&name.as_str())), "only /usr and /opt");
    Ok(())
}

/// Returns the sorted names in a directory.
fn names(directory: &Utf8Path) -> Vec<String> {
    let entries = directory.read_dir_utf8().expect("read");
    let mut names: Vec<String> = entries.map(|entry| entry.expect("read").file_name().to_owned()).collect();
    names.sort();
    names
}

/// The number of archives that were unpacked, or whose names were refused.
static REACHED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of inputs that were unpacked, or refused for a name.
pub(super) fn reached() -> u64 {
    REACHED.load(Ordering::Relaxed)
}

/// Builds an archive: one byte for the container (tar, tar.gz or zip), followed by its bytes. The checksums
/// of a tar are repaired.
pub(super) fn archive(bytes: &[u8]) {
    let [kind, bytes @ ..] = bytes else { return };
    let mut bytes = bytes.to_vec();
    if kind % 3 < 2 {
        repair_tar(&mut bytes);
    }
    if kind % 3 == 1 {
        bytes = gzip(&bytes);
    }
    let canary = Canary::of_process();
    let outcome = build_with("archive", |input| fs::write(input, &bytes).expect("written"));
    canary.check();
    if outcome.is_ok() || outcome.is_err_and(|message| message.contains("leads out")) {
        REACHED.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("compressed");
    gzip.finish().expect("compressed")
}

/// Returns a tar with a file, a link and a hard link, and those of [`hostile_tars`].
pub(super) fn tars() -> Vec<Vec<u8>> {
    let sound = [
        Member { name: "usr/bin/tool".to_owned(), kind: b'0', target: String::new() },
        Member { name: "usr/bin/link".to_owned(), kind: b'2', target: "tool".to_owned() },
        Member { name: "usr/bin/hard".to_owned(), kind: b'1', target: "usr/bin/tool".to_owned() },
    ];
    let mut tars = vec![tar(&sound)];
    tars.extend(hostile_tars());
    tars
}

/// Returns tars that lead to the canary: by a name, by a link, and by a hard link.
fn hostile_tars() -> Vec<Vec<u8>> {
    let canary = Canary::directory();
    let member =
        |name: &str, kind, target: &str| Member { name: name.to_owned(), kind, target: target.to_owned() };
    let relative = format!("{}{}", "../".repeat(10), canary.as_str().trim_start_matches('/'));
    let kept = canary.join(KEPT);
    [
        vec![member(&format!("usr/{relative}/{MADE}"), b'0', "")],
        vec![member(&format!("{canary}/{MADE}"), b'0', "")],
        vec![member(&format!("{relative}/{KEPT}"), b'0', "")],
        vec![member("usr/link", b'2', canary.as_str()), member(&format!("usr/link/{MADE}"), b'0', "")],
        vec![member("usr/link", b'2', kept.as_str()), member("usr/link", b'0', "")],
        vec![member("usr/hard", b'1', kept.as_str()), member("usr/hard", b'0', "")],
        vec![member("usr/hard", b'1', &format!("{relative}/{KEPT}")), member("usr/hard", b'0', "")],
        vec![
            member("usr/link", b'2', &relative),
            member("usr/link", b'5', ""),
            member("usr/link/x", b'0', ""),
        ],
    ]
    .iter()
    .map(|members| tar(members))
    .collect()
}

/// A member of a tar, with any name.
struct Member {
    name: String,
    kind: u8,
    target: String,
}

/// Writes a tar; the crate `tar` refuses hostile names.
fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Member { name, kind, target } in members {
        let content: &[u8] = if *kind == b'0' { b"tool" } else { b"" };
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        header.set_entry_type(tar::EntryType::new(*kind));
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend([0; 1024]);
    bytes
}

/// Returns tars, plain and compressed, and a zip.
pub(super) fn archives() -> Vec<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.start_file("usr/bin/tool", options).expect("begun");
    zip.write_all(b"tool").expect("written");
    zip.add_symlink("usr/bin/link", "tool", options).expect("added");
    let zip = zip.finish().expect("a zip").into_inner();
    let tars =
        tars().into_iter().flat_map(|tar| [[&[0], tar.as_slice()].concat(), [&[1], tar.as_slice()].concat()]);
    tars.chain([[&[2], zip.as_slice()].concat()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_archives_are_unpacked_and_hostile_ones_are_not() {
        let build = |bytes: &[u8]| build_with("archive", |input| fs::write(input, bytes).expect("written"));
        let tars = tars();
        assert_eq!(build(&tars[0]), Ok(()));
        assert_eq!(build(&gzip(&tars[0])), Ok(()));
        for (number, tar) in tars.iter().enumerate().skip(1) {
            let canary = Canary::of_process();
            let outcome = build(tar);
            canary.check();
            assert!(outcome.is_err(), "{number}: {outcome:?}");
        }
    }
}
