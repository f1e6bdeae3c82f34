// SPDX-License-Identifier: Apache-2.0
//! Builds recipes that extract a foreign file.
use std::io::{Cursor, Write as _};

use camino::Utf8Path;
use loadgauge_builder::lint::BaseLinks;
use loadgauge_builder::{Format, Recipe, Target, build};
use loadgauge_host::{Store, fs};
use loadgauge_images::{Architecture, OsRelease};

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
///
/// The build must not follow a link of the extension, nor create a top-level directory other than /usr
/// and /opt.
pub(super) fn build_with(section: &str, write: impl FnOnce(&Utf8Path)) {
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
    if let Ok(built) = built {
        let roots = names(&built.extension.path);
        assert!(roots.iter().all(|name| ["usr", "opt"].contains(&name.as_str())), "only /usr and /opt");
    }
}

/// Returns the sorted names in a directory.
fn names(directory: &Utf8Path) -> Vec<String> {
    let entries = directory.read_dir_utf8().expect("read");
    let mut names: Vec<String> = entries.map(|entry| entry.expect("read").file_name().to_owned()).collect();
    names.sort();
    names
}

pub(super) fn archive(bytes: &[u8]) {
    build_with("archive", |input| fs::write(input, bytes).expect("written"));
}

/// Returns a plain and a compressed tar, and a zip.
pub(super) fn archives() -> Vec<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(4);
    tar.append_data(&mut header, "usr/bin/tool", b"tool".as_slice()).expect("appended");
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Symlink);
    tar.append_link(&mut header, "usr/bin/link", "../bin/tool").expect("appended");
    let tar = tar.into_inner().expect("a tar");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).expect("compressed");
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.start_file("usr/bin/tool", options).expect("begun");
    zip.write_all(b"tool").expect("written");
    zip.add_symlink("usr/bin/link", "tool", options).expect("added");
    let zip = zip.finish().expect("a zip").into_inner();
    vec![tar, gzip.finish().expect("compressed"), zip]
}
