// SPDX-License-Identifier: Apache-2.0
//! Extensions that were built before as the source of another: every format, repacked and retargeted.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod workbench;

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::lint::Content;
use loadgauge_builder::{BuildError, Built, Format, Recipe};
use workbench::{FORMATS, Place};

/// The extension that is taken apart again, of everything that one can hold.
const FIRST: &str = r#"
name = "first"
version = "1.0"
[compatible]
id = "debian"
version-id = "13"
[[file]]
path = "/usr/bin/probe"
mode = "4755"
contents = "set-id"
[[file]]
path = "/usr/lib/probe/data"
mode = "0640"
contents = "data"
[[file]]
path = "/usr/lib/probe/link"
link = "data"
[[file]]
path = "/opt/probe/empty"
contents = ""
"#;

fn recipe(place: &Place, name: &str, text: &str) -> Recipe {
    let path = place.path(&format!("{name}.toml"));
    fs::write(&path, text).expect("written");
    Recipe::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

fn first(place: &Place, format: Format) -> Built {
    let mut first = recipe(place, "first", FIRST);
    first.pack.erofs_compression = Some(loadgauge_builder::pack::ErofsCompression::None);
    place.build(&first, format).unwrap_or_else(|error| panic!("{format}: {error} {:?}", error.source()))
}

fn again(place: &Place, image: &Utf8Path, format: Format) -> Result<Built, BuildError> {
    let text = format!("name = \"again\"\n[[image]]\nsource = \"{image}\"\nexclude = [\"/usr/share/**\"]\n");
    place.build(&recipe(place, "again", &text), format)
}

#[test]
fn every_format_gives_back_what_went_into_it() {
    let place = Place::new();
    let mut packed = Vec::new();
    for format in FORMATS {
        let image = first(&place, format).extension.path;
        let built = again(&place, &image, Format::Directory)
            .unwrap_or_else(|error| panic!("{format}: {error} {:?}", error.source()));
        let root = &built.extension.path;
        let text = |path: &str| fs::read_to_string(root.join(path)).expect("there");
        assert_eq!((text("usr/bin/probe"), text("usr/lib/probe/link")), ("set-id".into(), "data".into()));
        assert_eq!(text("opt/probe/empty"), "", "{format}");
        let mode = |path: &str| fs::metadata(root.join(path)).expect("there").permissions().mode() & 0o7777;
        assert_eq!((mode("usr/bin/probe"), mode("usr/lib/probe/data")), (0o4755, 0o640), "{format}");
        assert_eq!(built.set_id, ["usr/bin/probe"], "{format}");
        // The first was for another system, under another name: this one is for the target.
        let releases = root.join("usr/lib/extension-release.d");
        let names: Vec<String> = releases
            .read_dir_utf8()
            .expect("read")
            .map(|entry| entry.expect("read").file_name().to_owned())
            .collect();
        assert_eq!(names, ["extension-release.again"], "{format}");
        assert_eq!(built.extension.release.get("ID"), Some("flatcar"), "{format}");
        let again =
            again(&place, &image, Format::Squashfs).unwrap_or_else(|error| panic!("{format}: {error}"));
        packed.push((format, again.extension.sha512));
    }
    assert!(packed.iter().all(|(_, digest)| *digest == packed[0].1), "the same bytes: {packed:?}");
}

#[test]
fn for_whom_an_image_is_can_be_read_from_every_format() {
    let place = Place::new();
    for format in FORMATS {
        let built = first(&place, format);
        let content = Content::of_extension(&built.extension.path, "first");
        let content = content.unwrap_or_else(|error| panic!("{format}: {error} {:?}", error.source()));
        assert_eq!(content.release().as_ref(), Some(&built.extension.release), "{format}");
        assert_eq!(content.packed.is_none(), format == Format::Directory, "{format}");
    }
}

#[test]
fn a_disk_image_with_a_squashfs_inside_is_taken_apart_too() {
    let place = Place::new();
    let mut first = recipe(&place, "first", FIRST);
    first.pack.ddi_filesystem = Some(loadgauge_builder::pack::DdiFilesystem::Squashfs);
    let image = place.build(&first, Format::Ddi).expect("built").extension.path;
    let built = again(&place, &image, Format::Directory).expect("built");
    assert_eq!(fs::read_to_string(built.extension.path.join("usr/bin/probe")).expect("there"), "set-id");
}

/// What a shell makes of a tree `T` at `I`.
const PACKERS: [(&str, &str); 4] = [
    ("squashfs", "mksquashfs T I -quiet -no-progress -xattrs >/dev/null"),
    ("erofs", "mkfs.erofs --quiet I T"),
    ("ext4", "truncate -s 20M I && mke2fs -q -F -t ext4 -d T I"),
    ("btrfs", "truncate -s 120M I && mkfs.btrfs -q --rootdir T I"),
];

fn pack(line: &str, tree: &Utf8Path, image: &Utf8Path) {
    let line = line.replace('I', image.as_str()).replace(" T", &format!(" {tree}"));
    // In a user namespace its files are root's, as an extension's are.
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let status = command.args(["sh", "-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {line}")]).status();
    assert!(status.expect("unshare runs").success(), "{line}");
}

fn mark(path: &Utf8Path, name: &str) {
    let set = rustix::fs::lsetxattr(path.as_std_path(), name, b"y", rustix::fs::XattrFlags::empty());
    set.unwrap_or_else(|error| panic!("{name} cannot be set: {error}"));
}

/// A tree with a program, data with a name that needs quoting, a directory of theirs, and a file that an
/// extension has no place for.
fn marked_tree(place: &Place, name: &str) -> Utf8PathBuf {
    let tree = place.path(name);
    for directory in ["usr/bin", "usr/lib/probe", "etc"] {
        fs::create_dir_all(tree.join(directory)).expect("made");
    }
    for path in ["usr/bin/probe", "usr/lib/probe/a \"b\" c", "etc/probe"] {
        fs::write(tree.join(path), "x").expect("written");
    }
    fs::set_permissions(tree.join("usr/bin/probe"), fs::Permissions::from_mode(0o755)).expect("set");
    tree
}

#[test]
fn attributes_that_no_format_carries_are_refused_whatever_has_them() {
    let place = Place::new();
    for (number, path) in
        ["usr/bin/probe", "usr/lib/probe/a \"b\" c", "usr/lib/probe"].into_iter().enumerate()
    {
        let tree = marked_tree(&place, &format!("tree-{number}"));
        mark(&tree.join(path), "user.other");
        for (name, line) in PACKERS {
            let image = place.path(name);
            pack(line, &tree, &image);
            let error = again(&place, &image, Format::Directory).expect_err("refused").to_string();
            let told = error.contains("would be lost") && error.contains(&format!("`/{path}`"));
            assert!(told && error.contains("`user.other`"), "{name}: {error}");
            let _ = fs::remove_file(&image);
        }
    }
}

#[test]
fn attributes_of_what_is_left_out_and_of_the_host_do_not_matter() {
    let place = Place::new();
    let tree = marked_tree(&place, "tree");
    mark(&tree.join("etc/probe"), "user.other");
    // Only root may set it.
    if rustix::process::geteuid().is_root() {
        mark(&tree.join("usr/bin/probe"), "security.selinux");
        mark(&tree.join("usr/lib/probe"), "trusted.overlay.opaque");
    }
    for (name, line) in PACKERS {
        let image = place.path(name);
        pack(line, &tree, &image);
        let built = again(&place, &image, Format::Directory);
        let built = built.unwrap_or_else(|error| panic!("{name}: {error} {:?}", error.source()));
        assert_eq!(built.dropped, ["etc/probe"], "{name}");
        let opaque = built
            .warnings
            .iter()
            .filter(|warning| warning.contains("/usr/lib/probe: the opaque marker"))
            .count();
        assert_eq!(opaque, usize::from(rustix::process::geteuid().is_root()), "{name}: {:?}", built.warnings);
    }
}

#[test]
fn hard_links_stay_one_file_and_what_is_outside_is_told() {
    let place = Place::new();
    let tree = place.path("tree");
    for directory in ["usr/bin", "usr/share/doc", "etc"] {
        fs::create_dir_all(tree.join(directory)).expect("made");
    }
    fs::write(tree.join("usr/bin/one"), "x").expect("written");
    fs::hard_link(tree.join("usr/bin/one"), tree.join("usr/bin/two")).expect("linked");
    fs::write(tree.join("usr/share/doc/x"), "x").expect("written");
    fs::write(tree.join("etc/x"), "x").expect("written");
    let built = again(&place, &tree, Format::Directory).expect("built");
    let inode = |name: &str| fs::metadata(built.extension.path.join(name)).expect("there").ino();
    assert_eq!(inode("usr/bin/one"), inode("usr/bin/two"));
    assert_eq!(built.dropped, ["etc/x"]);
    assert!(!built.extension.path.join("usr/share").exists(), "left out");
}

#[test]
fn damaged_and_foreign_images_are_refused_with_their_names() {
    let place = Place::new();
    let cut = |format: Format, length: u64| {
        let image = first(&place, format).extension.path;
        let copy = place.path("cut.raw");
        fs::copy(&image, &copy).expect("copied");
        fs::File::options().write(true).open(&copy).expect("opened").set_len(length).expect("cut");
        again(&place, &copy, Format::Directory).expect_err("refused").to_string()
    };
    assert!(cut(Format::Squashfs, 300).contains("cannot extract `cut.raw`"));
    assert!(cut(Format::Erofs, 2048).contains("cannot extract `cut.raw`"));
    assert!(cut(Format::Ext4, 4096).contains("cannot extract `cut.raw`"));
    assert!(cut(Format::Ddi, 600 << 10).contains("`cut.raw` is not an image of an extension"));
    fs::write(place.path("other.raw"), "a text").expect("written");
    let error = again(&place, "other.raw".into(), Format::Directory).expect_err("refused");
    assert!(error.to_string().contains("`other.raw` is not an image of an extension"), "{error}");
}

#[test]
fn a_compressed_image_is_refused_with_what_to_do() {
    use loadgauge_host::Hint as _;
    let place = Place::new();
    fs::write(place.path("other.raw"), [0x1f, 0x8b, 8, 0, 0]).expect("written");
    let error = again(&place, "other.raw".into(), Format::Directory).expect_err("refused");
    assert!(error.hint().is_some_and(|hint| hint.contains("gunzip")), "{:?}", error.hint());
}

#[test]
fn a_wrong_digest_and_what_cannot_be_meant_are_told() {
    let place = Place::new();
    let image = first(&place, Format::Squashfs).extension.path;
    let digest = "0".repeat(64);
    let text = format!("name = \"x\"\n[[image]]\nsource = \"{image}\"\nsha256 = \"{digest}\"\n");
    let error = place.build(&recipe(&place, "x", &text), Format::Directory).expect_err("another");
    assert!(error.to_string().contains("has SHA-256"), "{error}");
    let text = format!("name = \"x\"\n[[image]]\nurl = \"file:{image}\"\nsha256 = \"{digest}\"\n");
    let error = place.build(&recipe(&place, "x", &text), Format::Directory).expect_err("another");
    assert!(error.to_string().contains(", expected 0000"), "{error}");
    for words in ["url = \"https://example.org/x.raw\"", "", "url = \"ftp://example.org/x\"\nsha256 = \"00\""]
    {
        let text = format!("name = \"x\"\n[[image]]\n{words}\n");
        Recipe::parse(&text, Utf8Path::new("x.toml")).expect_err(words);
    }
}
