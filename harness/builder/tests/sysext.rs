// SPDX-License-Identifier: Apache-2.0
//! Extensions built from the catalogue's recipes, judged by the tools that others read them with.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod workbench;

use loadgauge_host::Hint as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use camino::Utf8Path;
use loadgauge_builder::{Format, Recipe, build, check_reproducible};
use loadgauge_host::{CommandExt as _, Store, Tool};
use workbench::{FORMATS, Place, ask, catalogue, contents, rich_recipe};

#[test]
fn every_format_is_the_same_bytes_each_time() {
    let place = Place::new();
    let recipe = rich_recipe(&place);
    for format in FORMATS {
        let first = place.build(&recipe, format).expect("built");
        // Times are kept in seconds.
        sleep(Duration::from_millis(2_100));
        let store = Store::at(place.path("cache"));
        let again = check_reproducible(&recipe, &place.target(), format, &store, &|_| {});
        assert_eq!(again.expect("the same bytes").extension, first.extension, "{format}");
    }
}

#[test]
fn an_unchanged_build_is_found_and_a_change_is_noticed() {
    let place = Place::new();
    let recipe = catalogue("hello");
    let first = place.build(&recipe, Format::Squashfs).expect("built");
    let second = place.build(&recipe, Format::Squashfs).expect("found");
    assert!(!first.cached && second.cached);
    assert_eq!(first.extension, second.extension);
    let renamed = place.build(&recipe.with_name("other"), Format::Squashfs).expect("built");
    assert!(!renamed.cached);
    assert_eq!(renamed.extension.path.file_name(), Some("other.raw"));
}

#[test]
fn squashfs_as_unsquashfs_sees_it() {
    let place = Place::new();
    let built = place.build(&catalogue("hello"), Format::Squashfs).expect("built");
    let listing = ask("unsquashfs", &["-lln", "-UTC"], &built.extension.path);
    insta::assert_snapshot!(listing);
    let statistics = ask("unsquashfs", &["-s"], &built.extension.path);
    assert!(statistics.contains("Compression zstd"), "{statistics}");
}

#[test]
fn every_format_contains_the_staged_files() {
    let place = Place::new();
    let recipe = rich_recipe(&place);
    let directory = place.build(&recipe, Format::Directory).expect("built").extension.path;
    let expected = contents(&directory);
    assert!(expected.len() > 700);
    for format in [Format::Squashfs, Format::Erofs, Format::Ext4, Format::Btrfs] {
        let image = place.build(&recipe, format).expect("built").extension.path;
        let output = place.path(&format!("unpacked-{format}"));
        let rdump = format!("rdump / {output}");
        let extract = format!("--extract={output}");
        if format != Format::Squashfs {
            fs::create_dir(&output).expect("made");
        }
        match format {
            Format::Squashfs => ask("unsquashfs", &["-quiet", "-no-progress", "-d", output.as_str()], &image),
            Format::Erofs => ask("fsck.erofs", &[&extract], &image),
            Format::Ext4 => ask("debugfs", &["-R", &rdump], &image),
            _ => ask("btrfs", &["restore", "--metadata", "--symlinks", image.as_str()], &output),
        };
        assert_eq!(contents(&output), expected, "{format}");
    }
}

#[test]
fn ext4_as_e2fsck_sees_it() {
    let place = Place::new();
    let built = place.build(&rich_recipe(&place), Format::Ext4).expect("built");
    ask("e2fsck", &["-fn"], &built.extension.path);
    let stat = ask("debugfs", &["-R", "stat /usr/share/rich/large"], &built.extension.path);
    assert!(stat.contains("User:     0   Group:     0") && stat.contains("Mode:  0644"), "{stat}");
    let large = ask("debugfs", &["-R", "cat /usr/share/rich/large"], &built.extension.path);
    assert!(large.contains("\n299999"));
    let link = ask("debugfs", &["-R", "stat /usr/share/long"], &built.extension.path);
    assert!(link.contains("Type: symlink") && link.contains("Size: 123"), "{link}");
}

#[test]
fn btrfs_as_btrfs_check_sees_it() {
    let place = Place::new();
    let built = place.build(&rich_recipe(&place), Format::Btrfs).expect("built");
    let said = ask("btrfs", &["check", "--check-data-csum"], &built.extension.path);
    assert!(said.contains("no error found"), "{said}");
    let tree = ask("btrfs", &["inspect-internal", "dump-tree", "-t", "fs"], &built.extension.path);
    let owners = tree.lines().filter(|line| line.contains(" gid ")).collect::<Vec<_>>();
    assert!(owners.len() > 700 && owners.iter().all(|line| line.contains("uid 0 gid 0")));
    assert!(tree.contains("name: file-699"));
    let listed = listed(&tree);
    assert!(listed.iter().any(|names| *names == ["a", "b", "b.up", "c", "d"]), "{listed:?}");
    assert!(listed.iter().all(|names| names.is_sorted()), "the host's order shows in {listed:?}");
}

/// The names in each directory of a btrfs, in its own order.
fn listed(tree: &str) -> Vec<Vec<&str>> {
    let mut directories: std::collections::BTreeMap<u64, Vec<(u64, &str)>> =
        std::collections::BTreeMap::new();
    let mut entry = None;
    for line in tree.lines().map(str::trim) {
        if line.starts_with("item ") {
            let words: Vec<&str> = line.split([' ', '(', ')']).collect();
            entry = words.iter().position(|word| *word == "DIR_INDEX").map(|at| {
                let number = |word: &str| word.parse::<u64>().expect("a number");
                (number(words[at - 1]), number(words[at + 1]))
            });
        } else if let (Some((directory, index)), Some(name)) = (entry, line.strip_prefix("name: ")) {
            directories.entry(directory).or_default().push((index, name));
        }
    }
    for entries in directories.values_mut() {
        entries.sort_unstable();
    }
    directories.into_values().map(|entries| entries.into_iter().map(|(_, name)| name).collect()).collect()
}

#[test]
fn root_and_a_user_build_the_same_bytes() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else; every other test is a build by this user");
        return;
    }
    let place = Place::new();
    let recipe = rich_recipe(&place);
    for format in FORMATS {
        let built = place.build(&recipe, format).expect("built");
        let digest = by_nobody(&place, format);
        assert_eq!(digest, built.extension.sha512, "{format}");
    }
}

/// Builds the rich recipe as an ordinary user, by running one test of this binary.
fn by_nobody(place: &Place, format: Format) -> String {
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(place.directory.path(), open).expect("set");
    let binary = place.path("test-binary");
    fs::copy(std::env::current_exe().expect("this binary"), &binary).expect("copied");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", binary.as_str()])
        .args(["--exact", "--ignored", "--nocapture", "builds_for_another_test"])
        .env("LOADGAUGE_TEST_RECIPE", place.path("rich.toml"))
        .env("LOADGAUGE_TEST_FORMAT", format.to_string())
        .env("LOADGAUGE_TEST_CACHE", place.path("nobody"))
        .run()
        .unwrap_or_else(|error| panic!("{error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_once("sha512=").expect("a digest").1.lines().next().expect("a line").to_owned()
}

#[test]
#[ignore = "is run by `root_and_a_user_build_the_same_bytes` as another user"]
fn builds_for_another_test() {
    let variable = |name| std::env::var(name).expect("set by the other test");
    let format = variable("LOADGAUGE_TEST_FORMAT");
    let format = FORMATS.into_iter().find(|known| known.to_string() == format).expect("a format");
    let recipe = Recipe::load(Utf8Path::new(&variable("LOADGAUGE_TEST_RECIPE"))).expect("a recipe");
    let place = Place::new();
    let store = Store::at(variable("LOADGAUGE_TEST_CACHE"));
    let built = build(&recipe, &place.target(), format, &store, &|_| {}).unwrap_or_else(|error| {
        panic!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string))
    });
    assert!(!rustix::process::geteuid().is_root());
    println!("sha512={}", built.extension.sha512);
}

/// A kept build is found again in a moment, whatever its format.
#[test]
fn an_unchanged_recipe_is_not_built_again() {
    let place = Place::new();
    let recipe = rich_recipe(&place);
    for format in FORMATS {
        place.build(&recipe, format).expect("built");
        let start = std::time::Instant::now();
        let again = place.build(&recipe, format).expect("found");
        assert!(again.cached, "{format}");
        // A machine that tests much at once is given time; it takes 10 ms on one that does not.
        assert!(start.elapsed() < Duration::from_secs(2), "{format}: {:?}", start.elapsed());
    }
}

#[test]
fn two_processes_that_build_the_same_build_it_once() {
    let place = Place::new();
    rich_recipe(&place);
    let binary = std::env::current_exe().expect("this binary");
    let start = || {
        Command::new(&binary)
            .args(["--exact", "--ignored", "--nocapture", "builds_beside_another"])
            .env("LOADGAUGE_TEST_RECIPE", place.path("rich.toml"))
            .env("LOADGAUGE_TEST_CACHE", place.path("shared"))
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("started")
    };
    let both = [start(), start(), start()];
    let told = both.map(|child| {
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        text.lines().find_map(|line| line.split_once("built=")).expect("a line").1.to_owned()
    });
    let made = told.iter().filter(|told| told.ends_with(" cached=false")).count();
    assert_eq!(made, 1, "{told:?}");
    let digests = told.map(|told| told.split(' ').next().expect("a digest").to_owned());
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
#[ignore = "is run by `two_processes_that_build_the_same_build_it_once`"]
fn builds_beside_another() {
    let variable = |name| std::env::var(name).expect("set by the other test");
    let recipe = Recipe::load(Utf8Path::new(&variable("LOADGAUGE_TEST_RECIPE"))).expect("a recipe");
    let store = Store::at(variable("LOADGAUGE_TEST_CACHE"));
    let place = Place::new();
    let built = build(&recipe, &place.target(), Format::Ddi, &store, &|_| {}).expect("built");
    println!("built={} cached={}", built.extension.sha512, built.cached);
}

#[test]
fn recipes_to_be_refused_have_a_warning() {
    let place = Place::new();
    let told: Vec<String> = ["hello", "future", "foreign", "misnamed"]
        .into_iter()
        .map(|name| {
            let built = place.build(&catalogue(name), Format::Directory).expect("built");
            let releases = built.extension.path.join("usr/lib/extension-release.d");
            let file = fs::read_dir(releases).expect("read").next().expect("one").expect("one").path();
            let text = fs::read_to_string(&file).expect("read");
            let file_name = file.file_name().expect("a name").display();
            format!("{name}: {:?}\n{file_name}\n{text}", built.warnings)
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn systemd_dissect_accepts_every_image() {
    let place = Place::new();
    let images = [Format::Squashfs, Format::Erofs, Format::Ext4, Format::Btrfs, Format::Ddi];
    for format in images {
        let built = place.build(&catalogue("hello"), format).expect("built");
        let mut dissect = Tool::find("systemd-dissect").expect("a tool of the host").command();
        let output = dissect.arg("--json=short").arg(&built.extension.path).output().expect("it runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        if complaint.contains("loopback device") {
            eprintln!("skipped: systemd-dissect mounts images, and the host refuses: {complaint}");
            return;
        }
        let found: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complaint}"));
        assert_eq!(found["useSystemExtension"], true, "{format}: {found}");
        // The key has another name from systemd 254 on.
        let release = found.get("sysextRelease").unwrap_or(&found["extensionRelease"]);
        assert_eq!(release[0], "ID=flatcar", "{format}: {found}");
        let filesystem = if format == Format::Ddi { Format::Erofs } else { format };
        assert_eq!(found["mounts"][0]["fstype"], filesystem.to_string(), "{found}");
        if format == Format::Ddi {
            assert_eq!(found["mounts"][0]["rw"], "ro", "{found}");
            assert_eq!(found["mounts"][0]["architecture"], "x86-64", "{found}");
            assert_eq!(found["mounts"][1]["designator"], "root-verity", "{found}");
        }
    }
}

#[test]
fn unusable_extensions_are_refused() {
    let place = Place::new();
    let told: Vec<String> = [
        "[[file]]\npath = \"/usr/lib/os-release\"\ncontents = \"ID=x\"\n",
        "[[file]]\npath = \"/usr/lib/extension-release.d/extension-release.x\"\ncontents = \"ID=x\"\n",
        "[[file]]\npath = \"/usr/bin/x\"\ncontents = \"x\"\n[finish]\nremove = [\"/usr/lib/debug/**\"]\n",
        "[[file]]\npath = \"/usr/bin/x\"\ncontents = \"x\"\n[compatible]\narchitecture = \"amd64\"\n",
        "[[debian]]\npackages = [\"hello\"]\n",
    ]
    .into_iter()
    .map(|text| {
        let recipe =
            Recipe::parse(&format!("name = \"bad\"\n{text}"), Utf8Path::new("bad.toml")).expect("a recipe");
        let error = place.build(&recipe, Format::Directory).expect_err(text);
        let cause =
            std::error::Error::source(&error).map(|cause| format!("\nbecause: {cause}")).unwrap_or_default();
        format!("{error}{cause}\nhint: {}", error.hint().expect("a hint"))
    })
    .collect();
    insta::assert_snapshot!(told.join("\n\n"));
    let left = fs::read_dir(place.path("cache/sysext")).into_iter().flatten().flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name())
        .filter(|name| !name.to_string_lossy().ends_with(".lock"))
        .collect();
    assert!(left.is_empty(), "nothing half-made stays: {left:?}");
}

/// mkfs.erofs has zstd from version 1.8, where it was built with it.
#[test]
fn erofs_with_zstd_is_built_or_refused() {
    let place = Place::new();
    let mut recipe = catalogue("hello");
    recipe.pack.erofs_compression = Some(loadgauge_builder::pack::ErofsCompression::Zstd);
    let help = Tool::find("mkfs.erofs").expect("on the host").command().arg("--help").output().expect("runs");
    let help = String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned();
    match place.build(&recipe, Format::Erofs) {
        Ok(built) => {
            assert!(help.contains("zstd"), "{help}");
            ask("fsck.erofs", &[], &built.extension.path);
        }
        Err(error) => {
            assert!(!help.contains("zstd"), "{error}: {help}");
            assert!(error.is_host() && error.hint().is_some_and(|hint| hint.contains("1.8")), "{error}");
        }
    }
}

#[test]
fn a_file_of_a_tree_outside_usr_has_a_place() {
    let place = Place::new();
    fs::create_dir_all(place.path("tree/etc")).expect("made");
    fs::write(place.path("tree/etc/x"), "x").expect("written");
    fs::write(place.path("x.toml"), "name = \"x\"\n[[tree]]\nsource = \"tree\"\n").expect("written");
    let recipe = Recipe::load(&place.path("x.toml")).expect("a recipe");
    let error = place.build(&recipe, Format::Directory).expect_err("refused");
    assert!(error.to_string().contains("x.toml:3:10: the tree contains `/etc`"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("tmpfiles")));
}

#[test]
fn the_disk_usage_of_a_disk_image_names_its_file_system() {
    let place = Place::new();
    for (filesystem, expected) in [("erofs", "erofs\n"), ("squashfs", "squashfs\n")] {
        let text = format!(
            "name = \"x\"\n[[file]]\npath = \"/usr/x\"\ncontents = \"x\"\n[pack]\nddi-filesystem = \"{filesystem}\"\n"
        );
        fs::write(place.path("x.toml"), text).expect("written");
        let built = place.build(&Recipe::load(&place.path("x.toml")).expect("a recipe"), Format::Ddi);
        let table = built.expect("built").extension.path.with_file_name("x_disk_usage.txt");
        let table = fs::read_to_string(table).expect("read");
        assert!(table.ends_with(expected), "{table}");
    }
}

#[test]
fn further_options_of_mkfs_erofs_are_used() {
    let place = Place::new();
    let image = |name: &str, options: &str| {
        let path = place.path(&format!("{name}.toml"));
        let file = "[[file]]\npath = \"/usr/x\"\ncontents = \"x\"\n";
        fs::write(&path, format!("name = \"x\"\n{file}[pack]\nerofs-options = {options}\n"))
            .expect("written");
        let built = place.build(&Recipe::load(&path).expect("a recipe"), Format::Erofs);
        ask("dump.erofs", &["-s"], &built.expect("built").extension.path)
    };
    let (plain, other) = (image("plain", "[]"), image("other", "[\"-Enosbcrc\"]"));
    assert!(plain.contains("sb_csum") && !other.contains("sb_csum"), "{plain}{other}");
    let text =
        "name = \"x\"\n[[file]]\npath = \"/usr/x\"\ncontents = \"x\"\n[pack]\nerofs-options = [\"x\"]\n";
    let error = Recipe::parse(text, Utf8Path::new("x.toml")).expect_err("no option").to_string();
    assert!(error.contains("x.toml:6:18: `x` is not an option of mkfs.erofs"), "{error}");
}
