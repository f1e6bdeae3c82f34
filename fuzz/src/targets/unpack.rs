// SPDX-License-Identifier: Apache-2.0
//! Whole builds of recipes that take a foreign file apart.
use std::fs;
use std::io::{Cursor, Write as _};

use camino::Utf8Path;
use loadgauge_builder::lint::BaseLinks;
use loadgauge_builder::{Format, Recipe, Target, build};
use loadgauge_host::Store;
use loadgauge_images::{Architecture, OsRelease};
use sha2::{Digest as _, Sha256};

fn os_release() -> OsRelease {
    OsRelease::parse("ID=flatcar\nVERSION_ID=1.0.0\n").expect("valid")
}

/// An image of which nothing else is known.
fn target(os_release: &OsRelease) -> Target<'_> {
    Target {
        os_release,
        architecture: Architecture::Amd64,
        base: None,
        portage: None,
        root: None,
        links: BaseLinks::new(),
    }
}

/// Builds a recipe with a file beside it. Whatever the file holds, nothing appears elsewhere than in the
/// cache, and no link of the extension is followed.
fn feed(bytes: &[u8], section: &str) {
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
    fs::write(directory.join("input"), bytes).expect("written");
    let sha256 = hex::encode(Sha256::digest(bytes));
    let text = format!("name = \"x\"\n[[{section}]]\nsource = \"input\"\nsha256 = \"{sha256}\"\n");
    let recipe = Recipe::parse(&text, &directory.join("x.toml")).expect("a recipe");
    let os_release = os_release();
    let target = target(&os_release);
    let store = Store::at(directory.join("cache"));
    let built = build(&recipe, &target, Format::Directory, &store, &|_| {});
    let mut names: Vec<String> = directory
        .read_dir_utf8()
        .expect("read")
        .map(|entry| entry.expect("read").file_name().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["cache", "input"]);
    assert_eq!(fs::read(directory.join("input")).expect("read"), bytes, "the input is as it was");
    if let Ok(built) = built {
        let roots = built.extension.path.read_dir_utf8().expect("read");
        let kept = |name: &str| ["usr", "opt"].contains(&name);
        assert!(roots.flatten().all(|entry| kept(entry.file_name())), "only /usr and /opt");
    }
}

pub(super) fn archive(bytes: &[u8]) {
    feed(bytes, "archive");
}

/// Tars, plain and compressed, and a zip.
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

pub(super) fn image(bytes: &[u8]) {
    feed(bytes, "image");
}

/// What this builder packs, in the formats that are small.
pub(super) fn images() -> Vec<Vec<u8>> {
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
    let text = "name = \"x\"\n[[file]]\npath = \"/usr/bin/x\"\nmode = \"0755\"\ncontents = \"x\"\n";
    let recipe = Recipe::parse(text, &directory.join("x.toml")).expect("a recipe");
    let os_release = os_release();
    let target = target(&os_release);
    let store = Store::at(directory.join("cache"));
    let packed = [Format::Squashfs, Format::Erofs].map(|format| {
        let built = build(&recipe, &target, format, &store, &|_| {}).expect("built");
        fs::read(built.extension.path).expect("read")
    });
    packed.into()
}
