// SPDX-License-Identifier: Apache-2.0
//! The harness never asks whether an image is a stand-in. It asks for facts, and what makes stand-ins
//! is the only place that knows of them.
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

/// What a branch on the stand-in would name: the word itself, and the fields of its os-release that
/// Flatcar's does not have.
const WORDS: [&str; 5] = ["stand-in", "standin", "stand_in", "variant_id", "\"variant\""];

/// Where the word is allowed: in what builds stand-ins, and in words to the user. Each has the files'
/// ends and, where not all of a file is meant, a part of the line.
const ALLOWED: [(&str, Option<&str>); 18] = [
    // The command that makes them, with its errors and their extensions.
    ("cli/image_build.rs", None),
    ("cli/vendor.rs", Some("use loadgauge_images::standin::{Options, VendorExtension};")),
    ("cli/reasons.rs", Some("use loadgauge_images::standin::StandinError;")),
    ("cli/reasons.rs", Some("StandinError => Exit::Host,")),
    ("images/src/lib.rs", Some("pub mod standin;")),
    // Hints to who has no image, and what of the host is needed to make one.
    ("cli/workshop.rs", Some("let hint = \"make the stand-in with `loadgauge image build`")),
    ("cli/workshop.rs", Some("[] => \"make a stand-in with `loadgauge image build`")),
    ("machine/overlay.rs", Some("Some(\"make the stand-in image: loadgauge image build\".to_owned())")),
    ("debian/source.rs", Some("Some(\"build for a stand-in image, or take files and trees")),
    ("doctor/mod.rs", Some(".noted(\"make the stand-in with `loadgauge image build`")),
    ("doctor/host.rs", Some("format!(\"needed to make the stand-in image without being root;")),
    ("doctor/tools.rs", Some("const STANDIN: &str = \"make the stand-in image\";")),
    ("doctor/tools.rs", Some("wanted(\"mmdebstrap\", \"mmdebstrap\", STANDIN,")),
    ("doctor/tools.rs", Some("wanted(\"grub-mkimage\", \"grub-common\", STANDIN,")),
    ("doctor/tools.rs", Some("wanted(\"sfdisk\", \"fdisk\", STANDIN,")),
    ("doctor/tools.rs", Some("wanted(\"mcopy\", \"mtools\", STANDIN,")),
    ("doctor/tools.rs", Some("wanted(\"mkfs.vfat\", \"dosfstools\", STANDIN,")),
    ("doctor/tools.rs", Some("wanted(\"newuidmap\", \"uidmap\", \"make the stand-in image without")),
];

/// A line of code with one of the words.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    file: String,
    line: usize,
    text: String,
}

/// The lines of a file that are code and have one of the words. Tests at a file's end are no code that
/// decides.
fn search(file: &str, text: &str) -> Vec<Found> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = (1..).zip(code.lines()).filter(|(_, line)| {
        let line = line.trim_start();
        let lower = line.to_ascii_lowercase();
        !line.starts_with("//") && WORDS.iter().any(|word| lower.contains(word))
    });
    lines.map(|(line, text)| Found { file: file.to_owned(), line, text: text.trim().to_owned() }).collect()
}

fn is_allowed(found: &Found, (file, part): &(&str, Option<&str>)) -> bool {
    found.file.ends_with(file) && part.is_none_or(|part| found.text.contains(part))
}

/// All code but that which makes stand-ins, and what only tests use.
fn sources() -> Vec<Utf8PathBuf> {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let entries = ["harness/src", "ignition/src", "images/src"]
        .into_iter()
        .flat_map(|directory| walkdir::WalkDir::new(root.join(directory)).sort_by_file_name())
        .map(|entry| Utf8PathBuf::from_path_buf(entry.expect("listed").into_path()).expect("UTF-8"));
    let is_meant = |path: &Utf8PathBuf| {
        let is_test = path.file_stem().is_some_and(|stem| stem.ends_with("tests") || stem == "testing");
        path.extension() == Some("rs") && !path.as_str().contains("/images/src/standin/") && !is_test
    };
    entries.filter(is_meant).collect()
}

#[test]
fn only_what_makes_stand_ins_knows_of_them() {
    let files = sources();
    assert!(files.len() > 200, "{} files are not all", files.len());
    let mut found = Vec::new();
    for file in files {
        found.extend(search(file.as_str(), &fs::read_to_string(&file).expect("read")));
    }
    let unknown: Vec<&Found> =
        found.iter().filter(|found| !ALLOWED.iter().any(|allowed| is_allowed(found, allowed))).collect();
    assert!(unknown.is_empty(), "ask for a fact of the image instead: {unknown:#?}");
    let unused: Vec<_> =
        ALLOWED.iter().filter(|allowed| !found.iter().any(|found| is_allowed(found, allowed))).collect();
    assert!(unused.is_empty(), "allowed and nowhere to be seen: {unused:#?}");
}

#[test]
fn a_branch_would_be_found() {
    for branch in [
        "if image.facts.os_release.get(\"VARIANT_ID\").is_some() {",
        "let name = os_release.get(\"VARIANT\");",
        "match image.is_standin() {",
        "    if name.contains(\"stand-in\") {",
        "use loadgauge_images::standin::BLUEPRINTS; // for a comment",
    ] {
        let text =
            format!("//! a stand-in\n{branch}\n    /// of a stand-in\n#[cfg(test)]\nmod tests;\nstandin\n");
        let found = search("cli/run.rs", &text);
        assert_eq!(found.iter().map(|found| found.line).collect::<Vec<_>>(), [2], "{branch}");
        assert!(!ALLOWED.iter().any(|allowed| is_allowed(&found[0], allowed)), "{branch}");
    }
}
