// SPDX-License-Identifier: Apache-2.0
//! The script of `[finish]`, in whole builds.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod workbench;

use std::fs;
use std::process::Command;

use camino::Utf8Path;
use loadgauge_builder::{Built, Format, Recipe, build};
use loadgauge_host::{CommandExt as _, Store};
use workbench::Place;

/// A tree with a file in /etc, and a script that copies it as those of Flatcar's SDK do.
fn recipe(place: &Place, finish: &str) -> Recipe {
    for directory in ["tree/usr/bin", "tree/etc/tool", "files"] {
        fs::create_dir_all(place.path(directory)).expect("made");
    }
    for (path, text) in [
        ("tree/usr/bin/tool", "tool"),
        ("tree/etc/tool/tool.conf", "configuration"),
        ("files/helper.sh", "target=usr/share/tool\n"),
        (
            "mangle.sh",
            ". \"${0%/*}/files/helper.sh\"\nmkdir -p $target var/log\ncp -a ./etc/tool/tool.conf $target/\n\
             echo x > var/log/x\n",
        ),
    ] {
        fs::write(place.path(path), text).expect("written");
    }
    let path = place.path("tool.toml");
    let text = format!(
        "name = \"tool\"\n[[tree]]\nsource = \"tree\"\n[finish]\nscript = \"mangle.sh\"\n\
         script-inputs = [\"files\"]\n{finish}"
    );
    fs::write(&path, text).expect("written");
    Recipe::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn files(built: &Built) -> Vec<String> {
    let root = &built.extension.path;
    let entries =
        walkdir::WalkDir::new(root).sort_by_file_name().into_iter().map(|entry| entry.expect("read"));
    let files = entries.filter(|entry| entry.file_type().is_file());
    let names = files.map(|entry| entry.path().strip_prefix(root).expect("inside").display().to_string());
    names.filter(|name| !name.contains("extension-release")).collect()
}

#[test]
fn a_script_sees_etc_which_is_dropped_afterwards() {
    let place = Place::new();
    let built = place.build(&recipe(&place, ""), Format::Directory).expect("built");
    assert_eq!(files(&built), ["usr/bin/tool", "usr/share/tool/tool.conf"]);
    assert_eq!(built.dropped, ["etc/tool/tool.conf", "var/log/x"]);
    let built = place.build(&recipe(&place, "etc = \"tmpfiles\"\n"), Format::Directory).expect("built");
    assert_eq!(
        files(&built),
        [
            "usr/bin/tool",
            "usr/lib/tmpfiles.d/tool-etc.conf",
            "usr/share/tool/etc/tool/tool.conf",
            "usr/share/tool/tool.conf",
        ]
    );
    assert_eq!(built.dropped, ["var/log/x"]);
}

#[test]
fn a_change_of_a_file_that_the_script_reads_is_noticed() {
    let place = Place::new();
    let first = place.build(&recipe(&place, ""), Format::Directory).expect("built");
    let recipe = recipe(&place, "");
    assert!(place.build(&recipe, Format::Directory).expect("found").cached);
    fs::write(place.path("files/helper.sh"), "target=usr/share/other\n").expect("written");
    let second = place.build(&recipe, Format::Directory).expect("built");
    assert!(!first.cached && !second.cached);
    assert_eq!(files(&second), ["usr/bin/tool", "usr/share/other/tool.conf"]);
    let statement = fs::read_to_string(second.extension.path.with_file_name("tool.provenance.json"));
    let statement = statement.expect("read");
    assert!(statement.contains("mangle.sh") && statement.contains("\"files\""), "{statement}");
}

#[test]
fn another_user_runs_the_script_too() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else; the other tests run it as this user");
        return;
    }
    let place = Place::new();
    let built = place.build(&recipe(&place, ""), Format::Squashfs).expect("built");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(place.directory.path(), open).expect("set");
    let binary = place.path("test-binary");
    fs::copy(std::env::current_exe().expect("this binary"), &binary).expect("copied");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", binary.as_str()])
        .args(["--exact", "--ignored", "--nocapture", "builds_for_another_test"])
        .env("LOADGAUGE_TEST_RECIPE", place.path("tool.toml"))
        .env("LOADGAUGE_TEST_CACHE", place.path("nobody"))
        .run()
        .unwrap_or_else(|error| panic!("{error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("sha512={}", built.extension.sha512)), "{text}");
}

#[test]
#[ignore = "is run by `another_user_runs_the_script_too` as another user"]
fn builds_for_another_test() {
    let variable = |name| std::env::var(name).expect("set by the other test");
    let recipe = Recipe::load(Utf8Path::new(&variable("LOADGAUGE_TEST_RECIPE"))).expect("a recipe");
    let store = Store::at(variable("LOADGAUGE_TEST_CACHE"));
    assert!(!rustix::process::geteuid().is_root());
    let built = build(&recipe, &Place::new().target(), Format::Squashfs, &store, &|_| {});
    let built = built.unwrap_or_else(|error| panic!("{}", loadgauge_host::error::on_one_line(&error)));
    println!("sha512={}", built.extension.sha512);
}
