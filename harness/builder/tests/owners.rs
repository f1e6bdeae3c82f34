// SPDX-License-Identifier: Apache-2.0
//! Files that do not belong to root: their owners are kept as numbers in every format, or the build fails.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod workbench;

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::{BuildError, Format, Recipe, build};
use loadgauge_host::{CommandExt as _, Hint as _, Store, digest};
use loadgauge_images::ExtensionImage;
use loadgauge_images::file_system::FileOwner;
use workbench::{FORMATS, Place, ask};

/// The set-id programs of real packages: path, mode, owner.
const FILES: [(&str, u32, u32, u32); 3] = [
    ("usr/bin/mandb", 0o4755, 6, 12),
    ("usr/bin/nvidia-modprobe", 0o4710, 0, 44),
    ("usr/bin/sg", 0o2755, 0, 43),
];

/// Writes a tar archive of the files, and returns its digest.
fn write_archive(place: &Place) -> String {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, uid, gid) in FILES {
        let mut header = tar::Header::new_ustar();
        header.set_mode(mode);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_size(1);
        builder.append_data(&mut header, path, &b"x"[..]).expect("appended");
    }
    let bytes = builder.into_inner().expect("a tar");
    fs::write(place.path("programs.tar"), &bytes).expect("written");
    digest::sha256(&bytes)
}

fn recipe(place: &Place, further: &str) -> Recipe {
    let sha256 = write_archive(place);
    let archive = format!("[[archive]]\nsource = \"programs.tar\"\nsha256 = \"{sha256}\"\n");
    let path = place.path("owners.toml");
    fs::write(&path, format!("name = \"owners\"\n{archive}{further}")).expect("written");
    Recipe::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// The owners in an image or directory.
fn owners(place: &Place, extension: &Utf8Path) -> Vec<FileOwner> {
    if extension.is_dir() {
        let owner = |path: &str| {
            let metadata = fs::metadata(extension.join(path)).expect("there");
            FileOwner { path: path.into(), uid: metadata.uid(), gid: metadata.gid() }
        };
        return FILES.map(|(path, ..)| owner(path)).to_vec();
    }
    let scratch = tempfile::tempdir_in(place.path("")).expect("a directory");
    let copy = Utf8Path::from_path(scratch.path()).expect("UTF-8").join("copy");
    let mut owners = ExtensionImage::open(extension, &copy).expect("opened").owners().expect("read");
    owners.sort_by(|one, other| one.path.cmp(&other.path));
    owners
}

fn expected() -> Vec<FileOwner> {
    FILES.map(|(path, _, uid, gid)| FileOwner { path: Utf8PathBuf::from(path), uid, gid }).to_vec()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn owners_are_kept_in_every_format_and_from_an_image() {
    if !is_root() {
        eprintln!("skipped: only root builds every format; the other test builds as another user");
        return;
    }
    let place = Place::new();
    let recipe = recipe(&place, "keep-owners = true\n");
    for format in FORMATS {
        let built = place.build(&recipe, format).unwrap_or_else(|error| panic!("{format}: {error}"));
        let image = built.extension.path;
        assert_eq!(owners(&place, &image), expected(), "{format}");
        // A change of the owner clears set-id bits.
        let again = place.path("again.toml");
        fs::write(&again, format!("name = \"again\"\n[[image]]\nsource = \"{image}\"\n")).expect("written");
        let again = Recipe::load(&again).expect("a recipe");
        let again = place.build(&again, Format::Directory);
        let directory = again.unwrap_or_else(|error| panic!("{format}: {error}")).extension.path;
        assert_eq!(owners(&place, &directory), expected(), "{format}");
        for (path, mode, ..) in FILES {
            let found = fs::metadata(directory.join(path)).expect("there").permissions().mode();
            assert_eq!(found & 0o7777, mode, "{format}: {path}");
        }
    }
    let squashfs = place.build(&recipe, Format::Squashfs).expect("built").extension.path;
    let listing = ask("unsquashfs", &["-lln"], &squashfs);
    assert!(listing.contains("-rws--x--- 0/44 "), "{listing}");
    assert!(listing.lines().any(|line| line.starts_with("drwxr-xr-x 0/0 ") && line.ends_with("/usr/bin")));
}

#[test]
fn a_script_can_change_owners_as_root() {
    if !is_root() {
        eprintln!("skipped: only root can give files to others");
        return;
    }
    let place = Place::new();
    fs::write(place.path("mangle.sh"), "chown 7:8 usr/bin/sg\nchmod 4755 usr/bin/sg\n").expect("written");
    let recipe = recipe(&place, "keep-owners = true\n[finish]\nscript = \"mangle.sh\"\n");
    let image = place.build(&recipe, Format::Squashfs).expect("built").extension.path;
    let mut expected = expected();
    (expected[2].uid, expected[2].gid) = (7, 8);
    assert_eq!(owners(&place, &image), expected);
}

#[test]
fn a_set_id_file_of_another_user_does_not_become_one_of_root() {
    let place = Place::new();
    let error = place.build(&recipe(&place, ""), Format::Squashfs).expect_err("refused");
    let text = loadgauge_host::error::on_one_line(&error);
    let expected = "at `usr/bin/mandb`: it is set-id (4755) and belongs to 6:12";
    assert!(text.contains(expected), "{text}");
    assert!(error.hint().is_some_and(|hint| hint.contains("keep-owners = true")));
}

#[test]
fn another_user_builds_the_same_bytes_or_names_the_file() {
    if !is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let place = Place::new();
    let recipe = recipe(&place, "keep-owners = true\n[pack]\nddi-filesystem = \"squashfs\"\n");
    fs::set_permissions(place.directory.path(), fs::Permissions::from_mode(0o777)).expect("set");
    let binary = place.path("test-binary");
    fs::copy(std::env::current_exe().expect("this binary"), &binary).expect("copied");
    let by_nobody = |format: Format| {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", binary.as_str()])
            .args(["--exact", "--ignored", "--nocapture", "builds_for_another_test"])
            .env("LOADGAUGE_TEST_RECIPE", place.path("owners.toml"))
            .env("LOADGAUGE_TEST_FORMAT", format.to_string())
            .env("LOADGAUGE_TEST_CACHE", place.path("nobody"))
            .run()
            .unwrap_or_else(|error| panic!("{error}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split_once("result=").expect("a result").1.lines().next().expect("a line").to_owned()
    };
    for format in [Format::Squashfs, Format::Ext4, Format::Ddi] {
        let built = place.build(&recipe, format).expect("built");
        assert_eq!(by_nobody(format), built.extension.sha512, "{format}");
    }
    for format in [Format::Erofs, Format::Btrfs, Format::Directory] {
        let expected = format!("with mode 2755 and owner 0:43 as {format}: this user is not root");
        assert!(by_nobody(format).ends_with(&expected), "{}", by_nobody(format));
    }
}

#[test]
#[ignore = "is run by `another_user_builds_the_same_bytes_or_names_the_file` as another user"]
fn builds_for_another_test() {
    let variable = |name| std::env::var(name).expect("set by the other test");
    let format = variable("LOADGAUGE_TEST_FORMAT");
    let format = FORMATS.into_iter().find(|known| known.to_string() == format).expect("a format");
    let recipe = Recipe::load(Utf8Path::new(&variable("LOADGAUGE_TEST_RECIPE"))).expect("a recipe");
    let store = Store::at(variable("LOADGAUGE_TEST_CACHE"));
    assert!(!is_root());
    match build(&recipe, &Place::new().target(), format, &store, &|_| {}) {
        Ok(built) => println!("result={}", built.extension.sha512),
        Err(BuildError::Pack { source, .. }) => println!("result={source}"),
        Err(error) => panic!("{error}: {:?}", error.source().map(ToString::to_string)),
    }
}
