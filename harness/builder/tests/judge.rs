// SPDX-License-Identifier: Apache-2.0
//! Images that the user brings, judged by what they contain.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod workbench;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::lint::{Content, judge};
use loadgauge_host::{CommandExt as _, Tool};
use workbench::Place;

const RELEASE: &str = "ID=flatcar\nSYSEXT_LEVEL=1.0\n";

/// A squashfs of what a shell makes in an empty directory, beside a sound extension-release.
fn image(place: &Place, script: &str) -> Utf8PathBuf {
    let (tree, image) = (place.path("tree"), place.path("tool.raw"));
    let _ = std::fs::remove_dir_all(&tree);
    let releases = tree.join("usr/lib/extension-release.d");
    std::fs::create_dir_all(&releases).expect("made");
    std::fs::write(releases.join("extension-release.tool"), RELEASE).expect("written");
    let mut shell = Tool::find("sh").expect("on the host").command();
    shell.args(["-euc", &format!("umask 022; {script}")]).current_dir(&tree);
    shell.run().unwrap_or_else(|error| panic!("{error}"));
    pack(&tree, &image);
    image
}

fn pack(tree: &Utf8Path, image: &Utf8Path) {
    let mut command = Tool::find("mksquashfs").expect("on the host").command();
    command.arg(tree).arg(image).args(["-quiet", "-no-progress", "-noappend", "-xattrs"]);
    command.run().unwrap_or_else(|error| panic!("{error}"));
}

/// The rules with findings, with severity, and the paths.
fn findings(place: &Place, script: &str) -> Vec<String> {
    let image = image(place, script);
    let content = Content::of_extension(&image, "tool").unwrap_or_else(|error| panic!("{error}"));
    let findings = judge(&content, &place.target());
    findings.iter().map(|one| format!("{} {} /{}", one.severity, one.rule, one.path)).collect()
}

#[test]
fn an_image_is_judged_by_what_it_contains() {
    let place = Place::new();
    let release = "usr/lib/extension-release.d/extension-release.tool";
    for (script, expected) in [
        ("mkdir usr/bin; echo '#!/bin/sh' > usr/bin/tool; chmod 755 usr/bin/tool", &[][..]),
        (
            "mkdir usr/bin; chmod 700 usr usr/bin",
            &["error directory-mode /usr", "error directory-mode /usr/bin"],
        ),
        (
            "mkdir -p etc var/lib; echo > etc/a; echo > var/lib/b",
            &["warning not-merged /etc", "warning not-merged /var"],
        ),
        ("printf 'ID=flatcar\\nVERSION=4593.2.5\\n' > RELEASE", &["error compatible /RELEASE"]),
        ("printf 'ID = flatcar\\nSYSEXT_LEVEL = 1.0\\n' > RELEASE", &[]),
        ("printf '\\357\\273\\277ID=_any\\n' > RELEASE", &["error compatible /RELEASE"]),
        (": > RELEASE", &["error compatible /RELEASE"]),
        ("rm RELEASE; mkdir RELEASE", &["error extension-release /RELEASE"]),
        ("printf '\\377=1\\n' > RELEASE", &["error extension-release /RELEASE"]),
        ("mv RELEASE usr/lib/release; ln -s ../release RELEASE", &[]),
        ("mv RELEASE usr/lib/release; ln -s /usr/lib/release RELEASE", &[]),
        (
            "mv RELEASE usr/lib/extension-release.d/extension-release.other",
            &["error extension-release /RELEASE"],
        ),
        ("mv usr data; ln -s data usr", &["warning usr-link /usr"]),
        ("mkdir usr/real; ln -s real usr/libexec", &["error type-clash /usr/libexec"]),
        ("mkdir usr/bin; echo '#!/bin/sh' > usr/bin/tool", &["warning not-executable /usr/bin/tool"]),
    ] {
        let expected: Vec<String> = expected.iter().map(|line| line.replace("RELEASE", release)).collect();
        assert_eq!(findings(&place, &script.replace("RELEASE", release)), expected, "{script}");
    }
}

#[test]
fn the_owners_of_an_image_are_judged_by_every_user() {
    let place = Place::new();
    image(&place, "true");
    for (format, line) in [
        ("squashfs", "mksquashfs T I -quiet -no-progress -force-uid 1000 -force-gid 1000"),
        ("erofs", "mkfs.erofs --quiet --force-uid=1000 --force-gid=1000 I T"),
    ] {
        let image = place.path(format);
        let line =
            line.replace(" I", &format!(" {image}")).replace(" T", &format!(" {}", place.path("tree")));
        let mut shell = Tool::find("sh").expect("on the host").command();
        shell.args(["-c", &line]).run().unwrap_or_else(|error| panic!("{error}"));
        let content = Content::of_extension(&image, "tool").expect("read");
        let rules: Vec<&str> = judge(&content, &place.target()).iter().map(|one| one.rule).collect();
        assert_eq!(rules, ["owner"], "{format}");
    }
}

#[test]
fn the_owners_of_an_image_are_judged() {
    if !rustix::process::geteuid().is_root() {
        // An ordinary user cannot make the image.
        return;
    }
    let place = Place::new();
    assert_eq!(findings(&place, "chown -R 1000:1000 usr"), ["warning owner /usr"]);
    assert_eq!(findings(&place, "echo > usr/a; chown 6:6 usr/a"), Vec::<String>::new());
}

#[test]
fn a_directory_is_judged_as_an_image_is() {
    let place = Place::new();
    image(&place, "chmod 700 usr/lib");
    let content = Content::of_extension(&place.path("tree"), "tool").expect("read");
    let findings = judge(&content, &place.target());
    assert_eq!(findings.iter().map(|one| one.rule).collect::<Vec<_>>(), ["directory-mode"]);
}
