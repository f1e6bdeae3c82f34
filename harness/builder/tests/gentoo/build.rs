// SPDX-License-Identifier: Apache-2.0
//! Extensions from packages that Portage built from the ebuilds in `repository`.
use loadgauge_host::Hint as _;
use std::fs;
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::gentoo::binary::BinaryPackage;
use loadgauge_builder::lint::BaseLinks;
use loadgauge_builder::{BuildError, Built, Format, Recipe, Target, build, explain_packages};
use loadgauge_host::{CommandExt as _, Store};
use loadgauge_images::{Architecture, OsRelease};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::oracle::{Oracle, PortageRoot, copy, files};
use crate::server::Server;

/// The result of Portage: a base with `/var/db/pkg`, and a binhost in each format.
struct BuiltByPortage {
    root: PortageRoot,
    release: OsRelease,
}

/// Builds the packages of the base, and all packages in both formats, some of them with other USE flags
/// again.
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

/// Built once and stored under the digest of its inputs, since it takes half a minute.
static BUILT_BY_PORTAGE: LazyLock<BuiltByPortage> = LazyLock::new(|| {
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
    let root = if whole.exists() {
        PortageRoot::existing(&directory)
    } else {
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory).expect("made");
        let root = PortageRoot::at(&directory);
        run(root.command("sh").args(["-c", SCRIPT]));
        let base = root.path("base");
        fs::create_dir_all(base.join("var/db")).expect("made");
        copy(&root.path("base-packages"), &base.join("var/db/pkg"));
        fs::write(whole, "").expect("written");
        root
    };
    let release = OsRelease::parse("ID=flatcar\nVERSION_ID=1.0.0\nSYSEXT_LEVEL=1.0\n").expect("valid");
    BuiltByPortage { root, release }
});

fn run(command: &mut Command) {
    command.run().unwrap_or_else(|error| panic!("{error}"));
}

/// A directory with the cache and the recipes of a test.
struct TestContext {
    directory: tempfile::TempDir,
    progress: Mutex<Vec<String>>,
}

impl TestContext {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), progress: Mutex::default() }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.directory.path()).expect("UTF-8").join(name)
    }

    fn recipe(&self, name: &str, section: &str) -> Recipe {
        let path = self.path(&format!("{name}.toml"));
        let text = format!(
            "name = \"{name}\"\n{}",
            section.replace("PLACE", BUILT_BY_PORTAGE.root.path("").as_str())
        );
        fs::write(&path, text).expect("written");
        Recipe::load(&path).unwrap_or_else(|error| panic!("{error}"))
    }

    fn build_on(&self, recipe: &Recipe, base: Utf8PathBuf) -> Result<Built, Box<BuildError>> {
        let target = Target {
            os_release: &BUILT_BY_PORTAGE.release,
            architecture: Architecture::Amd64,
            systemd: None,
            base: None,
            portage: Some(base),
            root: None,
            links: BaseLinks::new(),
        };
        let progress = |what: &str| self.progress.lock().expect("not poisoned").push(what.to_owned());
        build(recipe, &target, Format::Directory, &Store::at(self.path("cache")), &progress).map_err(Box::new)
    }

    fn build(&self, recipe: &Recipe) -> Result<Built, Box<BuildError>> {
        self.build_on(recipe, BUILT_BY_PORTAGE.root.path("base"))
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
fn an_extension_contains_what_the_base_lacks_in_both_formats() {
    let context = TestContext::new();
    let expected =
        ["app-misc/engine-1.0-r2::loadgauge", "dev-libs/left-1::loadgauge", "dev-libs/store-2.1::loadgauge"];
    for format in ["xpak", "gpkg"] {
        let built = context.build(&context.recipe("engine", &engine(format))).expect("built");
        // engine needs `store:2=[fast]`, `|| ( left right )` and packages of the base; it blocks a version
        // of store that does not exist.
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
        // The SDK sets these fields for an extension of one package.
        let field = |field| built.extension.release.get(field).map(str::to_owned);
        assert_eq!(field("SYSEXT_NAME"), None, "{format}: the ebuild has no such variable");
        assert_eq!(field("SYSEXT_VERSION_ID").as_deref(), Some("1.0-r2"), "{format}");
        assert_eq!(field("SYSEXT_HOME_URL").as_deref(), Some("https://example.org/"), "{format}");
        assert_eq!(built.dropped, ["etc/engine.conf"], "{format}");
        let list =
            fs::read_to_string(built.extension.path.with_file_name("engine_packages.txt")).expect("read");
        assert_eq!(list.lines().collect::<Vec<_>>(), expected);
        insta::assert_snapshot!("explanation", built.explanation.to_string());
    }
}

#[test]
fn the_packages_of_a_base_are_read_from_its_squashfs() {
    let context = TestContext::new();
    let squashfs = context.path("base.squashfs");
    run(Command::new("mksquashfs").arg(BUILT_BY_PORTAGE.root.path("base")).arg(&squashfs).arg("-quiet"));
    let recipe = context.recipe("engine", &engine("xpak"));
    let built = context.build_on(&recipe, squashfs.clone()).expect("built");
    assert_eq!(built.packages, context.build(&recipe).expect("built").packages);
    assert!(context.build_on(&recipe, squashfs).expect("found").cached);
}

#[test]
fn packages_of_base_extensions_count_as_installed() {
    let context = TestContext::new();
    context.recipe("engine", &engine("xpak"));
    let plugin = "base-extensions = [\"engine\"]\n[[gentoo]]\npackages = [\"app-misc/plugin\"]\nbinhost = \"PLACE/xpak\"\n";
    let built = context.build(&context.recipe("plugin", plugin)).expect("built");
    assert_eq!(names(&built), ["app-misc/plugin-3::loadgauge"]);
}

#[test]
fn packages_of_a_published_database_count_as_installed() {
    let context = TestContext::new();
    let engine = context.build(&context.recipe("engine", &engine("xpak"))).expect("built");
    let database = engine.extension.path.with_file_name("engine_pkginfo.raw");
    fs::copy(database, context.path("engine_pkginfo.raw")).expect("copied");
    let plugin = |database: &str| {
        let text = "[[gentoo]]\npackages = [\"app-misc/plugin\"]\nbinhost = \"PLACE/xpak\"\n";
        context.recipe("plugin", &format!("base-packages = [\"{database}\"]\n{text}"))
    };
    let built = context.build(&plugin("engine_pkginfo.raw")).expect("built");
    assert_eq!(names(&built), ["app-misc/plugin-3::loadgauge"]);
    assert!(built.explanation.to_string().contains("(in the packages `engine_pkginfo.raw`)"));
    fs::create_dir(context.path("other")).expect("made");
    let error = context.build(&plugin("other")).expect_err("no database");
    assert!(!error.is_host() && error.to_string().contains("plugin.toml:2:18: "), "{error}");
}

#[test]
fn errors_name_the_chain_of_dependencies() {
    let context = TestContext::new();
    let errors: Vec<String> = [
        ("eager", "packages = [\"app-misc/eager\"]"),
        ("hungry", "packages = [\"app-misc/hungry\"]"),
        ("nowhere", "packages = [\"app-misc/nowhere\"]"),
        ("slow", "packages = [\"app-misc/engine\"]\npackage-use = [\"dev-libs/store -fast\"]"),
        ("both", "packages = [\"app-misc/engine\", \"app-misc/plugin\", \"<dev-libs/store-2.1:2\"]"),
        ("base", "packages = [\"sys-libs/other\"]"),
        ("builds", "packages = [\"dev-libs/store:2\"]"),
    ]
    .into_iter()
    .map(|(name, section)| {
        let recipe = context.recipe(name, &format!("[[gentoo]]\n{section}\nbinhost = \"PLACE/xpak\"\n"));
        let error = context.build(&recipe).expect_err(name);
        assert!(!error.is_host());
        format!("{error}\nhint: {}", error.hint().unwrap_or_default())
            .replace(context.path("").as_str(), "PLACE/")
    })
    .collect();
    insta::assert_snapshot!(errors.join("\n\n"));
}

#[test]
fn a_rule_for_use_flags_selects_among_builds() {
    let context = TestContext::new();
    for (rule, expected) in
        [("dev-libs/store fast", "fast\n"), ("*/* -fast", "2.1\n"), ("dev-libs/* -fast", "2.1\n")]
    {
        let section = format!(
            "[[gentoo]]\npackages = [\"dev-libs/store:2\"]\nbinhost = \"PLACE/xpak\"\npackage-use = [\"{rule}\"]\n"
        );
        let built = context.build(&context.recipe("store", &section)).expect(rule);
        let store = fs::read_to_string(built.extension.path.join("usr/lib64/libstore.so")).expect("read");
        assert!(store.ends_with(expected), "{rule}: {store}");
    }
}

#[test]
fn a_package_that_counts_as_installed_is_explained() {
    let context = TestContext::new();
    let section = format!("{}package-provided = [\"dev-libs/left-7\"]\n", engine("xpak"));
    let built = context.build(&context.recipe("engine", &section)).expect("built");
    assert_eq!(names(&built), ["app-misc/engine-1.0-r2::loadgauge", "dev-libs/store-2.1::loadgauge"]);
    let text = built.explanation.to_string();
    let expected = "counts as installed:\n  dev-libs/left-7\n    \
                    app-misc/engine-1.0-r2::loadgauge needs `dev-libs/left`\n";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn a_file_of_a_package_in_the_base_is_protected() {
    let context = TestContext::new();
    let base = context.path("base");
    copy(&BUILT_BY_PORTAGE.root.path("base"), &base);
    let contents = walkdir::WalkDir::new(&base)
        .into_iter()
        .flatten()
        .find(|entry| entry.file_name() == "CONTENTS")
        .expect("a package of the base");
    let mut text = fs::read_to_string(contents.path()).expect("read");
    text.push_str("sym /bin/engine-link -> other 1\nobj /usr/lib/modules/x 00 1\n");
    text.push_str("obj /usr/bin/engine 0cc175b9c0f1b6a831c399e269772661 1\n");
    fs::write(contents.path(), text).expect("written");
    let section = engine("xpak");
    let error = context.build_on(&context.recipe("engine", &section), base.clone()).expect_err("owned");
    assert!(!error.is_host());
    let text = error.to_string();
    assert!(text.contains("/usr/bin/engine of engine-1.0-r2-1.xpak is owned by sys-libs/base-1"), "{text}");
    assert!(text.contains("/usr/bin/engine-link of"), "/bin is /usr/bin: {text}");
    assert!(error.hint().is_some_and(|hint| hint.contains("collision-ignore")));
    let section = format!("{section}collision-ignore = [\"/usr/bin/engine*\"]\n");
    context.build_on(&context.recipe("engine", &section), base.clone()).expect("allowed");
    // A package replaces the files of its other versions in the same slot.
    let section = "[[gentoo]]\npackages = [\"sys-libs/base\"]\nbinhost = \"PLACE/xpak\"\n";
    context.build_on(&context.recipe("base", section), base).expect("a replacement");
}

#[test]
fn a_package_that_differs_from_the_index_is_refused() {
    let context = TestContext::new();
    for format in ["xpak", "gpkg"] {
        let binhost = context.path(format);
        copy(&BUILT_BY_PORTAGE.root.path(format), &binhost);
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
        let error = context.build(&context.recipe("engine", &section)).expect_err("changed");
        assert!(error.to_string().contains("has the SHA-1"), "{error}");
        // The gpkg format has its own digests.
        assert_eq!(BinaryPackage::open(path).is_err(), format == "gpkg", "{format}");
    }
}

#[test]
fn a_binhost_with_a_url_is_asked_for_changes_only() {
    for format in ["xpak", "gpkg"] {
        let context = TestContext::new();
        let binhost = context.path(format);
        copy(&BUILT_BY_PORTAGE.root.path(format), &binhost);
        let server = Server::of(&binhost);
        let section = format!("[[gentoo]]\npackages = [\"app-misc/engine\"]\nbinhost = \"{}\"\n", server.url);
        let recipe = context.recipe("engine", &section);
        let built = context.build(&recipe).expect("built");
        let local = context.build(&context.recipe("engine", &engine(format))).expect("built");
        assert_eq!(
            built.extension.sha512, local.extension.sha512,
            "{format}: the same as from the directory"
        );
        let requests = server.take_requests();
        assert_eq!(requests[0], "200 Packages.gz", "{format}");
        assert_eq!(requests.len(), 1 + built.packages.len(), "{format}: each package once: {requests:?}");

        assert!(context.build(&recipe).expect("found").cached, "{format}");
        assert_eq!(server.take_requests(), ["304 Packages.gz"], "{format}");

        // A newer, uncompressed index, from which a package differs.
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
        let error = context.build(&recipe).expect_err("another digest");
        assert!(error.to_string().contains("has the SHA-1"), "{format}: {error}");
        assert!(!error.is_host(), "{format}");
        let requests = server.take_requests();
        assert_eq!(requests[..2], ["404 Packages.gz", "200 Packages"], "{format}");
        assert!(requests[2].starts_with("200 app-misc/engine"), "{format}: {requests:?}");

        // Without the network, the stored index is used.
        fs::write(binhost.join("Packages"), &index).expect("written");
        server.take_requests();
        assert!(context.build(&recipe).expect("as at first").cached, "{format}");
        assert_eq!(server.take_requests(), ["404 Packages.gz", "200 Packages"], "{format}");
        server.silence();
        assert!(context.build(&recipe).expect("kept").cached, "{format}");
        let progress = context.progress.lock().expect("not poisoned").join("\n");
        assert!(progress.contains("does not answer"), "{format}: {progress}");
    }
}

#[test]
fn an_explanation_fetches_no_package() {
    let context = TestContext::new();
    let binhost = context.path("xpak");
    copy(&BUILT_BY_PORTAGE.root.path("xpak"), &binhost);
    let server = Server::of(&binhost);
    let section = format!("[[gentoo]]\npackages = [\"app-misc/engine\"]\nbinhost = \"{}\"\n", server.url);
    let target = Target {
        os_release: &BUILT_BY_PORTAGE.release,
        architecture: Architecture::Amd64,
        base: None,
        portage: Some(BUILT_BY_PORTAGE.root.path("base")),
        root: None,
        links: BaseLinks::new(),
        systemd: None,
    };
    let store = Store::at(context.path("cache"));
    let recipe = context.recipe("engine", &section);
    let explanation = explain_packages(&recipe, &target, &store, &|_| {}).expect("explained");
    assert_eq!(explanation.taken.len(), 3);
    assert_eq!(server.take_requests(), ["200 Packages.gz"]);
}

#[test]
fn the_same_packages_give_the_same_bytes() {
    let context = TestContext::new();
    let recipe = context.recipe("engine", &engine("xpak"));
    let first = context.build(&recipe).expect("built");
    assert!(context.build(&recipe).expect("found").cached);
    let again = TestContext::new().build(&recipe).expect("built");
    assert!(!again.cached);
    assert_eq!(first.extension.sha512, again.extension.sha512);
}

#[test]
fn portage_reads_the_package_database_of_an_extension() {
    let context = TestContext::new();
    let built = context.build(&context.recipe("engine", &engine("xpak"))).expect("built");
    let database = built.extension.path.with_file_name("engine_pkginfo.raw");
    let mut oracle = Oracle::start();
    let root = oracle.root.path("root-of-engine");
    run(Command::new("unsquashfs").args(["-quiet", "-no-progress", "-dest", root.as_str()]).arg(&database));
    copy(&BUILT_BY_PORTAGE.root.path("xpak"), &oracle.root.path("xpak"));
    let answer = oracle.ask(&json!({
        "ask": "resolve", "binhost": oracle.root.path("xpak"), "database": root.join("var/db/pkg"),
        "provided": [], "atoms": ["app-misc/plugin"],
    }));
    assert_eq!(
        answer["merge"],
        json!(["app-misc/plugin-3"]),
        "{}",
        answer["output"].as_str().unwrap_or_default()
    );
    // The same database as a base of ours.
    let plugin = "[[gentoo]]\npackages = [\"app-misc/plugin\"]\nbinhost = \"PLACE/xpak\"\n";
    let built = context.build_on(&context.recipe("plugin", plugin), database).expect("built");
    assert_eq!(names(&built), ["app-misc/plugin-3::loadgauge"]);
    let contents = fs::read_to_string(root.join("var/db/pkg/app-misc/engine-1.0-r2/CONTENTS")).expect("read");
    assert!(
        contents.contains("obj /usr/bin/engine ") && contents.contains("sym /usr/bin/engine-link -> engine"),
        "{contents}"
    );
}
