// SPDX-License-Identifier: Apache-2.0
//! What is written beside an extension, judged by the tools that others read it with.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod workbench;

use std::collections::BTreeSet;
use std::fs;

use camino::Utf8PathBuf;
use loadgauge_builder::{Built, Format, Recipe};
use loadgauge_host::{CommandExt as _, Tool};
use serde_json::Value;
use workbench::{FORMATS, Place};

const RECIPE: &str = r#"
name = "tool"
version = "1.2.3"
homepage = "https://example.org/tool"
bug-report = "https://example.org/tool/issues"

[[file]]
path = "/usr/bin/tool"
mode = "4755"
source = "tool.sh"

[[file]]
path = "/etc/tool.conf"
contents = "tool = {name}\n"

[[file]]
path = "/usr/share/doc/tool/README"
contents = "read me\n"

[[tree]]
source = "tree"

[finish]
install-mask = ["/usr/share/doc/**", "/usr/share/man/**"]
script = "mangle.sh"
etc = "tmpfiles"

[publish]
url = "https://example.org/extensions/tool"
"#;

fn recipe(place: &Place) -> Recipe {
    fs::create_dir_all(place.path("tree/usr/share/tool")).expect("made");
    fs::write(place.path("tree/usr/share/tool/data"), "data\n").expect("written");
    fs::write(place.path("tool.sh"), "#!/bin/sh\necho tool\n").expect("written");
    fs::write(place.path("mangle.sh"), "set -eu\necho \"$SYSEXT_VERSION_ID\" > usr/share/tool/version\n")
        .expect("written");
    fs::write(place.path("tool.toml"), RECIPE).expect("written");
    Recipe::load(&place.path("tool.toml")).expect("a recipe")
}

fn beside(built: &Built, name: &str) -> Utf8PathBuf {
    built.extension.path.with_file_name(name)
}

fn read(built: &Built, name: &str) -> String {
    fs::read_to_string(beside(built, name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn json(built: &Built, name: &str) -> Value {
    serde_json::from_str(&read(built, name)).expect("JSON")
}

#[test]
fn all_keys_of_finish_are_applied() {
    let place = Place::new();
    let built = place.build(&recipe(&place), Format::Squashfs).expect("built");
    insta::assert_snapshot!(read(&built, "tool_contents.txt"));
    let unpacked = place.path("unpacked");
    let mut unsquashfs = Tool::find("unsquashfs").expect("a tool of the host").command();
    unsquashfs.args(["-quiet", "-no-progress", "-d", unpacked.as_str()]).arg(&built.extension.path);
    unsquashfs.run().unwrap_or_else(|error| panic!("{error}"));
    let inside = |path: &str| fs::read_to_string(unpacked.join(path)).expect(path);
    assert_eq!(inside("usr/share/tool/etc/tool.conf"), "tool = tool\n");
    assert_eq!(inside("usr/share/tool/version"), "1.2.3\n");
    insta::assert_snapshot!(inside("usr/lib/extension-release.d/extension-release.tool"));
    assert_eq!(built.set_id, ["usr/bin/tool"]);
}

#[test]
fn sha256sum_verifies_all_files() {
    let place = Place::new();
    for format in FORMATS {
        let built = place.build(&recipe(&place), format).expect("built");
        let directory = built.extension.path.parent().expect("a parent");
        let mut sums = Tool::find("sha256sum").expect("a tool of the host").command();
        sums.args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(directory);
        sums.run().unwrap_or_else(|error| panic!("{format}: {error}"));
        let text = read(&built, "SHA256SUMS");
        let listed: BTreeSet<&str> = text.lines().map(|line| &line[66..]).collect();
        let image = ["tool.raw", "tool-1.2.3-x86-64.raw", "tool.conf"];
        assert!(
            image.iter().all(|name| listed.contains(name) == (format != Format::Directory)),
            "{format}: {listed:?}"
        );
        let named: BTreeSet<&str> = built.described.iter().map(String::as_str).collect();
        for entry in directory.read_dir_utf8().expect("read") {
            let name = entry.expect("read").file_name().to_owned();
            let own = ["built.json", "tool.raw", "tool"].contains(&name.as_str());
            assert!(own || named.contains(name.as_str()), "{format}: {name} is not told of");
        }
    }
}

#[test]
fn the_documents_name_the_image_and_its_inputs() {
    let place = Place::new();
    let built = place.build(&recipe(&place), Format::Erofs).expect("built");
    let sums = read(&built, "SHA256SUMS");
    let sha256 = sums.lines().find_map(|line| line.strip_suffix("  tool.raw")).expect("listed");
    let provenance = json(&built, "tool.provenance.json");
    assert_eq!(provenance["subject"][0]["digest"]["sha256"], sha256);
    assert_eq!(provenance["subject"][0]["digest"]["sha512"], built.extension.sha512.as_str());
    let made_from = &provenance["predicate"]["buildDefinition"]["resolvedDependencies"];
    let named: Vec<&str> =
        made_from.as_array().expect("a list").iter().filter_map(|input| input["uri"].as_str()).collect();
    assert_eq!(named, ["tool.toml", "mangle.sh", "tree/usr/share/tool/data", "tool.sh"]);
    for input in made_from.as_array().expect("a list") {
        let file = place.path(input["uri"].as_str().expect("text"));
        let mut sum = Tool::find("sha256sum").expect("a tool of the host").command();
        let said = sum.arg(&file).run().expect("it runs").stdout;
        let said = String::from_utf8(said).expect("UTF-8");
        assert!(said.starts_with(input["digest"]["sha256"].as_str().expect("text")), "{file}: {said}");
    }
    let bill = json(&built, "tool.spdx.json");
    assert_eq!(bill["packages"][0]["checksums"][0]["checksumValue"], sha256);
    assert_eq!(bill["packages"][0]["versionInfo"], "1.2.3");
    assert_eq!(bill["creationInfo"]["created"], "2024-01-01T00:00:00Z");
}

#[test]
fn the_transfer_file_verifies_and_matches_the_published_name() {
    let place = Place::new();
    let built = place.build(&recipe(&place), Format::Squashfs).expect("built");
    insta::assert_snapshot!(read(&built, "tool.conf"));
    let published = fs::read(beside(&built, "tool-1.2.3-x86-64.raw")).expect("read");
    assert_eq!(published, fs::read(&built.extension.path).expect("read"));
}
