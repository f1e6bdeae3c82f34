// SPDX-License-Identifier: Apache-2.0
//! Extensions from packages that the real Portage built from the ebuilds in `repository`.
use loadgauge_host::Hint as _;
use std::fs;
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::gentoo::binary::Binary;
use loadgauge_builder::lint::BaseLinks;
use loadgauge_builder::{BuildError, Built, Format, Recipe, Target, build};
use loadgauge_host::{CommandExt as _, Store};
use loadgauge_images::{Architecture, OsRelease};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::oracle::{Oracle, Workplace, copy, files};
use crate::server::Server;

/// What Portage built: a base with `/var/db/pkg`, and a binhost in each format.
struct Genuine {
    workplace: Workplace,
    release: OsRelease,
}

/// What the base has, and then everything, in both formats and with other USE flags once more.
const SCRIPT: &str = "set -eu
        for ebuild in repository/*/*/*.ebuild; do
            FEATURES='-binpkg-multi-instance' ebuild \"$ebuild\" manifest >/dev/null
        done
        export PKGDIR=$PWD/xpak BINPKG_FORMAT=xpak BINPKG_COMPRESS=bzip2
        emerge --quiet --oneshot sys-libs/base
        cp -a var/db/pkg base-packages
        emerge --quiet --buildpkgonly --nodeps app-misc/engine app-misc/plugin app-misc/eager \\
            app-misc/hungry =dev-libs/store-1.2 =dev-libs/store-2.1 dev-libs/left dev-libs/right sys-libs/base
        USE=fast emerge --quiet --buildpkgonly --nodeps =dev-libs/store-2.1
        export PKGDIR=$PWD/gpkg BINPKG_FORMAT=gpkg BINPKG_COMPRESS=zstd
        emerge --quiet --buildpkgonly --nodeps app-misc/engine =dev-libs/store-1.2 dev-libs/left dev-libs/right
        USE=fast emerge --quiet --buildpkgonly --nodeps =dev-libs/store-2.1
    ";

/// Made once and kept as long as nothing changes that it is made of: it takes half a minute.
static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    hash.update(SCRIPT);
    for part in ["in-root.sh", "portage", "repository"] {
        for entry in walkdir::WalkDir::new(files().join(part)).sort_by_file_name().into_iter().flatten() {
            if entry.file_type().is_file() {
                hash.update(entry.path().to_string_lossy().as_bytes());
                hash.update(fs::read(entry.path()).expect("read"));
            }
        }
    }
    let name = format!("portage-{}", &hex::encode(hash.finalize())[..16]);
    let directory = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let whole = directory.join("whole");
    let workplace = if whole.exists() {
        Workplace::found(&directory)
    } else {
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory).expect("made");
        let workplace = Workplace::at(&directory);
        run(workplace.command("sh").args(["-c", SCRIPT]));
        let base = workplace.path("base");
        fs::create_dir_all(base.join("var/db")).expect("made");
        copy(&workplace.path("base-packages"), &base.join("var/db/pkg"));
        fs::write(whole, "").expect("written");
        workplace
    };
    let release = OsRelease::parse("ID=flatcar\nVERSION_ID=1.0.0\nSYSEXT_LEVEL=1.0\n").expect("valid");
    Genuine { workplace, release }
});

fn run(command: &mut Command) {
    command.run().unwrap_or_else(|error| panic!("{error}"));
}

/// A cache and recipes of a test's own.
struct Place {
    directory: tempfile::TempDir,
    told: Mutex<Vec<String>>,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), told: Mutex::default() }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.directory.path()).expect("UTF-8").join(name)
    }

    fn recipe(&self, name: &str, section: &str) -> Recipe {
        let path = self.path(&format!("{name}.toml"));
        let text =
            format!("name = \"{name}\"\n{}", section.replace("PLACE", GENUINE.workplace.path("").as_str()));
        fs::write(&path, text).expect("written");
        Recipe::load(&path).unwrap_or_else(|error| panic!("{error}"))
    }

    fn build_on(&self, recipe: &Recipe, base: Utf8PathBuf) -> Result<Built, Box<BuildError>> {
        let target = Target {
            os_release: &GENUINE.release,
            architecture: Architecture::Amd64,
            base: None,
            portage: Some(base),
            root: None,
            links: BaseLinks::new(),
        };
        let tell = |what: &str| self.told.lock().expect("whole").push(what.to_owned());
        build(recipe, &target, Format::Directory, &Store::at(self.path("cache")), &tell).map_err(Box::new)
    }

    fn build(&self, recipe: &Recipe) -> Result<Built, Box<BuildError>> {
        self.build_on(recipe, GENUINE.workplace.path("base"))
    }
}

fn names(built: &Built) -> Vec<String> {
    let mut names: Vec<String> = built.packages.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

fn contents(built: &Built) -> Vec<String> {
    let root = &built.extension.path;
    walkdir::WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.expect("read"))
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| entry.path().strip_prefix(root).expect("inside").display().to_string())
        .collect()
}

fn engine(format: &str) -> String {
    format!("[[gentoo]]\npackages = [\"app-misc/engine\"]\nbinhost = \"PLACE/{format}\"\n")
}

#[test]
fn an_extension_holds_what_the_base_lacks_in_either_format() {
    let place = Place::new();
    let expected =
        ["app-misc/engine-1.0-r2::loadgauge", "dev-libs/left-1::loadgauge", "dev-libs/store-2.1::loadgauge"];
    for format in ["xpak", "gpkg"] {
        let built = place.build(&place.recipe("engine", &engine(format))).expect("built");
        // engine needs `store:2=[fast]`, `|| ( left right )` and what the base has; it blocks an
        // older store than any here.
        assert_eq!(names(&built), expected, "{format}");
        assert_eq!(
            contents(&built),
            [
                "usr/bin/engine",
                "usr/bin/engine-link",
                "usr/lib/extension-release.d/extension-release.engine",
                "usr/lib64/libleft.so",
                "usr/lib64/libstore.so",
            ],
            "{format}"
        );
        let store = fs::read_to_string(built.extension.path.join("usr/lib64/libstore.so")).expect("read");
        assert_eq!(store, "store 2.1 fast\n", "the build with the USE flag that engine needs");
        // As the SDK says of an extension that one package was asked for.
        let said = |field| built.extension.release.get(field).map(str::to_owned);
        assert_eq!(said("SYSEXT_NAME").as_deref(), Some("engine"), "{format}");
        assert_eq!(said("SYSEXT_VERSION_ID").as_deref(), Some("1.0-r2"), "{format}");
        assert_eq!(said("SYSEXT_HOME_URL").as_deref(), Some("https://example.org/"), "{format}");
        assert_eq!(built.dropped, ["etc/engine.conf"], "{format}");
        let list =
            fs::read_to_string(built.extension.path.with_file_name("engine_packages.txt")).expect("read");
        assert_eq!(list.lines().collect::<Vec<_>>(), expected);
        insta::assert_snapshot!("why_packages_are_in", built.explanation.to_string());
    }
}

#[test]
fn the_packages_of_a_base_are_read_out_of_its_squashfs() {
    let place = Place::new();
    let squashfs = place.path("base.squashfs");
    run(Command::new("mksquashfs").arg(GENUINE.workplace.path("base")).arg(&squashfs).arg("-quiet"));
    let recipe = place.recipe("engine", &engine("xpak"));
    let built = place.build_on(&recipe, squashfs.clone()).expect("built");
    assert_eq!(built.packages, place.build(&recipe).expect("built").packages);
    assert!(place.build_on(&recipe, squashfs).expect("found").cached);
}

#[test]
fn packages_of_the_recipes_it_builds_beyond_count_as_present() {
    let place = Place::new();
    place.recipe("engine", &engine("xpak"));
    let plugin = "base-extensions = [\"engine\"]\n[[gentoo]]\npackages = [\"app-misc/plugin\"]\nbinhost = \"PLACE/xpak\"\n";
    let built = place.build(&place.recipe("plugin", plugin)).expect("built");
    assert_eq!(names(&built), ["app-misc/plugin-3::loadgauge"]);
}

#[test]
fn what_cannot_be_had_is_told_with_the_way_to_it() {
    let place = Place::new();
    let told: Vec<String> = [
        ("eager", "packages = [\"app-misc/eager\"]"),
        ("hungry", "packages = [\"app-misc/hungry\"]"),
        ("nowhere", "packages = [\"app-misc/nowhere\"]"),
        ("slow", "packages = [\"app-misc/engine\"]\npackage-use = [\"dev-libs/store -fast\"]"),
        ("both", "packages = [\"app-misc/engine\", \"app-misc/plugin\", \"<dev-libs/store-2.1:2\"]"),
        ("base", "packages = [\"sys-libs/other\"]"),
    ]
    .into_iter()
    .map(|(name, section)| {
        let recipe = place.recipe(name, &format!("[[gentoo]]\n{section}\nbinhost = \"PLACE/xpak\"\n"));
        let error = place.build(&recipe).expect_err(name);
        assert!(!error.is_host());
        format!("{error}\nhint: {}", error.hint().unwrap_or_default())
            .replace(place.path("").as_str(), "PLACE/")
    })
    .collect();
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn a_package_that_was_changed_since_it_was_indexed_is_refused() {
    let place = Place::new();
    for format in ["xpak", "gpkg"] {
        let binhost = place.path(format);
        copy(&GENUINE.workplace.path(format), &binhost);
        let engine: Vec<_> = walkdir::WalkDir::new(binhost.join("app-misc/engine"))
            .into_iter()
            .flatten()
            .filter(|entry| entry.file_type().is_file())
            .collect();
        let path = Utf8Path::from_path(engine[0].path()).expect("UTF-8");
        let mut bytes = fs::read(path).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).expect("written");
        let section = format!("[[gentoo]]\npackages = [\"app-misc/engine\"]\nbinhost = \"{binhost}\"\n");
        let error = place.build(&place.recipe("engine", &section)).expect_err("changed");
        assert!(error.to_string().contains("has the SHA-1"), "{error}");
        // The package's own digests find it too, where the format has any.
        assert_eq!(Binary::open(path).is_err(), format == "gpkg", "{format}");
    }
}

#[test]
fn a_binhost_on_the_network_is_asked_for_what_is_new_and_nothing_else() {
    for format in ["xpak", "gpkg"] {
        let place = Place::new();
        let binhost = place.path(format);
        copy(&GENUINE.workplace.path(format), &binhost);
        let server = Server::of(&binhost);
        let section = format!("[[gentoo]]\npackages = [\"app-misc/engine\"]\nbinhost = \"{}\"\n", server.url);
        let recipe = place.recipe("engine", &section);
        let built = place.build(&recipe).expect("built");
        let local = place.build(&place.recipe("engine", &engine(format))).expect("built");
        assert_eq!(built.extension.sha512, local.extension.sha512, "{format}: as from the directory");
        let asked = server.asked();
        assert_eq!(asked[0], "200 Packages.gz", "{format}");
        assert_eq!(asked.len(), 1 + built.packages.len(), "{format}: each package once: {asked:?}");

        assert!(place.build(&recipe).expect("found").cached, "{format}");
        assert_eq!(server.asked(), ["304 Packages.gz"], "{format}");

        // A newer index, not compressed, with a package that is no more what it says.
        let index = fs::read_to_string(binhost.join("Packages")).expect("read");
        let changed = index
            .split("\n\n")
            .map(|paragraph| {
                if !paragraph.contains("CPV: app-misc/engine-") {
                    return paragraph.to_owned();
                }
                let lines = paragraph.lines().map(|line| match line.strip_prefix("SHA1: ") {
                    Some(_) => format!("SHA1: {}", "0".repeat(40)),
                    None => line.to_owned(),
                });
                lines.collect::<Vec<_>>().join("\n")
            })
            .collect::<Vec<_>>()
            .join("\n\n");
        assert_ne!(index, changed, "{format}");
        fs::write(binhost.join("Packages"), changed).expect("written");
        fs::remove_file(binhost.join("Packages.gz")).expect("removed");
        let error = place.build(&recipe).expect_err("another digest");
        assert!(error.to_string().contains("has the SHA-1"), "{format}: {error}");
        assert!(!error.is_host(), "{format}");
        let asked = server.asked();
        assert_eq!(asked[..2], ["404 Packages.gz", "200 Packages"], "{format}");
        assert!(asked[2].starts_with("200 app-misc/engine"), "{format}: {asked:?}");

        // Without the network, what was known last counts.
        fs::write(binhost.join("Packages"), &index).expect("written");
        server.asked();
        assert!(place.build(&recipe).expect("as at first").cached, "{format}");
        assert_eq!(server.asked(), ["404 Packages.gz", "200 Packages"], "{format}");
        server.fall_silent();
        assert!(place.build(&recipe).expect("kept").cached, "{format}");
        let told = place.told.lock().expect("whole").join("\n");
        assert!(told.contains("does not answer"), "{format}: {told}");
    }
}

#[test]
fn the_same_packages_give_the_same_bytes() {
    let place = Place::new();
    let recipe = place.recipe("engine", &engine("xpak"));
    let first = place.build(&recipe).expect("built");
    assert!(place.build(&recipe).expect("found").cached);
    let again = Place::new().build(&recipe).expect("built");
    assert!(!again.cached);
    assert_eq!(first.extension.sha512, again.extension.sha512);
}

#[test]
fn portage_takes_the_package_database_of_an_extension_for_its_own() {
    let place = Place::new();
    let built = place.build(&place.recipe("engine", &engine("xpak"))).expect("built");
    let database = built.extension.path.with_file_name("engine_pkginfo.raw");
    let mut oracle = Oracle::start();
    let root = oracle.workplace.path("root-of-engine");
    run(Command::new("unsquashfs").args(["-quiet", "-no-progress", "-dest", root.as_str()]).arg(&database));
    copy(&GENUINE.workplace.path("xpak"), &oracle.workplace.path("xpak"));
    let answer = oracle.ask(&json!({
        "ask": "resolve", "binhost": oracle.workplace.path("xpak"), "database": root.join("var/db/pkg"),
        "provided": [], "atoms": ["app-misc/plugin"],
    }));
    assert_eq!(
        answer["merge"],
        json!(["app-misc/plugin-3"]),
        "{}",
        answer["output"].as_str().unwrap_or_default()
    );
    // And so do we.
    let plugin = "[[gentoo]]\npackages = [\"app-misc/plugin\"]\nbinhost = \"PLACE/xpak\"\n";
    let built = place.build_on(&place.recipe("plugin", plugin), database).expect("built");
    assert_eq!(names(&built), ["app-misc/plugin-3::loadgauge"]);
    let contents = fs::read_to_string(root.join("var/db/pkg/app-misc/engine-1.0-r2/CONTENTS")).expect("read");
    assert!(
        contents.contains("obj /usr/bin/engine ") && contents.contains("sym /usr/bin/engine-link -> engine"),
        "{contents}"
    );
}
