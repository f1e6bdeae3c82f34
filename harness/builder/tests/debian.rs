// SPDX-License-Identifier: Apache-2.0
//! Extensions from Debian packages: dpkg-deb makes the packages, and the archive is signed with a key of
//! the test.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
use loadgauge_host::Hint as _;
use std::error::Error as _;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::{BuildError, Built, Format, Recipe, Target, build, explain_packages};
use loadgauge_host::{CommandExt as _, Store, Tool};
use loadgauge_images::base::Archive;
use loadgauge_images::{Architecture, Base, OsRelease};
use sha2::{Digest as _, Sha256};

/// A directory with an archive, a base that was made from it, and a cache.
struct TestContext {
    directory: tempfile::TempDir,
    base: Base,
}

/// A package of the archive: its control fields, and its files.
type Package<'a> = (&'a str, &'a [(&'a str, &'a str)]);

const PACKAGES: [Package<'static>; 4] = [
    (
        "Package: engine\nVersion: 2:1.0-1\nDepends: runtime (>= 1.5), libbase",
        &[
            ("usr/sbin/engine", "engine"),
            ("etc/default/engine", "x"),
            ("usr/share/doc/engine/copyright", "x"),
        ],
    ),
    ("Package: runtime\nVersion: 1.7-3\nDepends: libbase\nRecommends: extras", &[("bin/runtime", "runtime")]),
    ("Package: extras\nVersion: 1", &[("usr/bin/extras", "extras")]),
    ("Package: eager\nVersion: 1\nConflicts: libbase", &[("usr/bin/eager", "eager")]),
];

const STATUS: &str = "Package: libbase\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\
                      Maintainer: nobody\nDescription: a library of the base\n";

impl TestContext {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(directory.path()).expect("UTF-8").to_owned();
        fs::write(root.join("status"), STATUS).expect("written");
        make_archive(&root);
        let base = Base {
            digest: "of the base".to_owned(),
            os_release: OsRelease::parse("ID=flatcar\nVERSION_ID=1.0.0\n").expect("valid"),
            architecture: Architecture::Amd64,
            dpkg_status: root.join("status"),
            archive: Archive {
                mirror: format!("file:{root}/archive"),
                suite: "test".to_owned(),
                components: vec!["main".to_owned()],
                keyring: root.join("key.gpg"),
                allow_expired: false,
            },
        };
        Self { directory, base }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.directory.path()).expect("UTF-8").join(name)
    }

    fn recipe(&self, name: &str, text: &str) -> Recipe {
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, format!("name = \"{name}\"\n{text}")).expect("written");
        Recipe::load(&path).expect("a recipe")
    }

    fn build(&self, recipe: &Recipe) -> Result<Built, BuildError> {
        let store = Store::at(self.path("cache"));
        build(recipe, &Target::of_base(&self.base), Format::Directory, &store, &|_| {})
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    command.run().unwrap_or_else(|error| panic!("{error}")).stdout
}

/// Makes the packages, their index, and a signed Release file.
fn make_archive(root: &Utf8Path) {
    let pool = root.join("archive/pool");
    let lists = root.join("archive/dists/test/main/binary-amd64");
    fs::create_dir_all(&pool).expect("made");
    fs::create_dir_all(&lists).expect("made");
    let mut index = String::new();
    for (control, files) in PACKAGES {
        let tree = root.join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).expect("made");
        let fields =
            format!("{control}\nArchitecture: amd64\nMaintainer: nobody <n@example.org>\nDescription: x\n");
        fs::write(tree.join("DEBIAN/control"), &fields).expect("written");
        for (path, text) in files {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        let name = control.split(['\n', ' ']).nth(1).expect("a name");
        let file = pool.join(format!("{name}.deb"));
        run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(&file));
        let bytes = fs::read(&file).expect("read");
        let digest = hex::encode(Sha256::digest(&bytes));
        let size = bytes.len();
        writeln!(index, "{fields}Filename: pool/{name}.deb\nSize: {size}\nSHA256: {digest}\n")
            .expect("written");
        fs::remove_dir_all(&tree).expect("removed");
    }
    fs::write(lists.join("Packages"), &index).expect("written");
    let digest = hex::encode(Sha256::digest(&index));
    let size = index.len();
    let release = format!(
        "Suite: test\nCodename: test\nArchitectures: amd64\nComponents: main\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n\
         SHA256:\n {digest} {size} main/binary-amd64/Packages\n"
    );
    fs::write(root.join("Release"), release).expect("written");
    sign(root, &root.join("archive/dists/test/InRelease"), "key.gpg");
}

/// Makes a new key, writes its public part to `keyring`, and returns GnuPG with that key.
fn new_key(home: &tempfile::TempDir, keyring: &Utf8Path) -> impl (Fn() -> Command) + use<> {
    let home = home.path().to_owned();
    let gpg = move || {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--yes", "--pinentry-mode=loopback", "--passphrase="]);
        command.arg("--homedir").arg(&home);
        command
    };
    run(gpg().args(["--quick-generate-key", "test <t@example.org>", "ed25519", "sign", "never"]));
    fs::write(keyring, run(gpg().arg("--export"))).expect("written");
    gpg
}

/// Signs the Release file with a new key, and exports its public part.
fn sign(root: &Utf8Path, output: &Utf8Path, keyring: &str) {
    let home = tempfile::tempdir_in("/tmp").expect("a directory");
    let gpg = new_key(&home, &root.join(keyring));
    run(gpg().args(["--clearsign", "--output"]).arg(output).arg(root.join("Release")));
    run(Command::new("gpgconf").arg("--homedir").arg(home.path()).args(["--kill", "all"]));
}

fn files(built: &Built) -> Vec<String> {
    let root = &built.extension.path;
    walkdir::WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.expect("read"))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(root).expect("inside").display().to_string())
        .collect()
}

fn names(built: &Built) -> Vec<&str> {
    built.packages.iter().map(|package| package.name.as_str()).collect()
}

/// The error with its causes and its hint, without the temporary directory.
fn report(context: &TestContext, error: &BuildError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, "\nbecause: {error}").expect("written");
        cause = error.source();
    }
    write!(text, "\nhint: {}", error.hint().unwrap_or_default()).expect("written");
    text.replace(context.path("").as_str(), "PLACE/")
}

const ENGINE: &str = "[[debian]]\npackages = [\"engine\"]\nexclude = [\"/usr/share/doc/**\"]\n";

#[test]
fn an_extension_contains_what_the_base_lacks_and_nothing_else() {
    let context = TestContext::new();
    let recipe =
        context.recipe("engine", &format!("{ENGINE}[finish]\nmove = {{ \"/usr/sbin\" = \"/usr/bin\" }}\n"));
    let built = context.build(&recipe).expect("built");
    assert_eq!(names(&built), ["engine", "runtime"]);
    let expected =
        ["usr/bin/engine", "usr/bin/runtime", "usr/lib/extension-release.d/extension-release.engine"];
    assert_eq!(files(&built), expected);
    assert_eq!(built.dropped, ["etc/default/engine"]);
    let list = built.extension.path.with_file_name("engine_packages.txt");
    let list = fs::read_to_string(list).expect("read");
    assert!(list.starts_with("engine-2:1.0-1::") && list.lines().count() == 2, "{list}");
    let database = built.extension.path.with_file_name("engine_pkginfo.raw");
    let status = Tool::find("unsquashfs")
        .expect("a tool of the host")
        .command()
        .args(["-cat", database.as_str(), "var/lib/dpkg/status"])
        .run()
        .expect("the image has the file");
    let status = String::from_utf8(status.stdout).expect("UTF-8");
    assert_eq!(status.matches("\nStatus: install ok installed\n").count(), 2, "{status}");
    assert!(status.starts_with("Package: engine\n"), "{status}");
}

#[test]
fn a_stored_build_needs_no_archive() {
    let context = TestContext::new();
    let recipe = context.recipe("engine", ENGINE);
    context.build(&recipe).expect("built");
    fs::remove_dir_all(context.path("archive")).expect("removed");
    assert!(context.build(&recipe).expect("found").cached);
    let renamed = context.build(&recipe.with_name("other")).expect("built from kept packages");
    assert!(!renamed.cached && names(&renamed) == ["engine", "runtime"]);
}

#[test]
fn every_package_is_explained() {
    let context = TestContext::new();
    let recipe = context.recipe("engine", ENGINE);
    let store = Store::at(context.path("cache"));
    let explanation =
        explain_packages(&recipe, &Target::of_base(&context.base), &store, &|_| {}).expect("found");
    assert_eq!(
        explanation.to_string(),
        "in the extension:\n  engine 2:1.0-1\n    the recipe asks for `engine`\n  runtime 1.7-3\n    \
         engine needs `runtime (>= 1.5)`\nin the base:\n  libbase 1\n    runtime needs `libbase`\n    \
         engine needs `libbase`\n"
    );
}

#[test]
fn packages_of_base_extensions_count_as_installed() {
    let context = TestContext::new();
    context.recipe("runtime", "[[debian]]\npackages = [\"runtime\"]\n");
    let recipe = context.recipe("engine", &format!("base-extensions = [\"runtime\"]\n{ENGINE}"));
    assert_eq!(names(&context.build(&recipe).expect("built")), ["engine"]);
}

#[test]
fn recommended_packages_are_added_on_request() {
    let context = TestContext::new();
    let recipe = context.recipe("runtime", "[[debian]]\npackages = [\"runtime\"]\nrecommends = true\n");
    assert_eq!(names(&context.build(&recipe).expect("built")), ["extras", "runtime"]);
}

#[test]
fn unmet_dependencies_and_wrong_base_extensions_are_reported() {
    let context = TestContext::new();
    let refuse = |name: &str, text: &str| {
        let error = context.build(&context.recipe(name, text)).expect_err(text);
        assert!(!error.is_host());
        report(&context, &error)
    };
    let unknown = refuse("unknown", "[[debian]]\npackages = [\"nowhere\"]\n");
    assert!(
        unknown.starts_with("PLACE/unknown.toml:3:13: ")
            && unknown.contains("the archive has no package `nowhere`")
            && unknown.contains("packages.debian.org"),
        "{unknown}"
    );
    let conflict = refuse("conflict", "[[debian]]\npackages = [\"eager\"]\n");
    assert!(
        conflict.contains("eager 1 is incompatible with libbase 1 of the base: eager 1 declares `libbase`")
            && conflict
                .contains("hint: use an alternative package: an extension can add packages to the base"),
        "{conflict}"
    );
    context.recipe("left", "base-extensions = [\"right\"]\n[[debian]]\npackages = [\"runtime\"]\n");
    let circle = refuse("right", "base-extensions = [\"left\"]\n[[debian]]\npackages = [\"engine\"]\n");
    assert!(circle.starts_with("PLACE/left.toml:2:20: `right` is built on `left` in turn"), "{circle}");
    let missing = refuse("lonely", "base-extensions = [\"nobody\"]\n[[debian]]\npackages = [\"engine\"]\n");
    assert!(missing.starts_with("PLACE/lonely.toml:2:20: there is no recipe `nobody`"), "{missing}");
}

#[test]
fn a_package_of_a_name_precedes_those_that_provide_it() {
    let context = TestContext::new();
    let provider = "Package: system-runtime\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\
                    Provides: runtime, viewer\nConflicts: eager\n";
    fs::write(context.path("status"), format!("{STATUS}\n{provider}")).expect("written");
    let built = context.build(&context.recipe("runtime", "[[debian]]\npackages = [\"runtime\"]\n"));
    assert_eq!(names(&built.expect("built")), ["runtime"]);
    // The base provides the name, and no package has it.
    let error = context.build(&context.recipe("viewer", "[[debian]]\npackages = [\"viewer\"]\n"));
    let text = report(&context, &error.expect_err("nothing to add"));
    let expected =
        "PLACE/viewer.toml:1:8: the extension would be empty; the base has system-runtime 1 already";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn an_empty_extension_is_refused_with_what_the_base_has() {
    let context = TestContext::new();
    let error = context.build(&context.recipe("base", "[[debian]]\npackages = [\"libbase\"]\n"));
    let error = error.expect_err("nothing to add");
    assert!(!error.is_host());
    let text = report(&context, &error);
    let expected = "PLACE/base.toml:1:8: the extension would be empty; the base has libbase 1 already";
    assert!(text.starts_with(expected) && text.contains("hint: "), "{text}");
}

#[test]
fn a_package_can_be_excluded() {
    let context = TestContext::new();
    let text = "[[debian]]\npackages = [\"engine\"]\nexclude-packages = [\"runtime\"]\n";
    let built = context.build(&context.recipe("engine", text)).expect("built");
    assert_eq!(names(&built), ["engine"]);
    let text = built.explanation.to_string();
    assert!(
        text.ends_with("counts as installed:\n  runtime\n    engine needs `runtime (>= 1.5)`\n"),
        "{text}"
    );
}

#[test]
fn a_file_of_a_package_in_the_base_is_protected() {
    let context = TestContext::new();
    let lists = context.path("root/var/lib/dpkg/info");
    fs::create_dir_all(&lists).expect("made");
    fs::write(lists.join("libbase:amd64.list"), "/usr/bin/runtime\n/usr/sbin/engine\n").expect("written");
    let recipe = |keys: &str| context.recipe("engine", &format!("{ENGINE}{keys}"));
    let build = |keys: &str| {
        let target = Target { root: Some(context.path("root")), ..Target::of_base(&context.base) };
        let store = Store::at(context.path("cache"));
        build(&recipe(keys), &target, Format::Directory, &store, &|_| {})
    };
    let error = build("").expect_err("two files");
    assert!(!error.is_host());
    let text = report(&context, &error);
    for expected in [
        "/usr/bin/runtime of runtime_1.7-3_amd64.deb is owned by libbase",
        "/usr/sbin/engine of engine_2%3a1.0-1_amd64.deb is owned by libbase",
        "collision-ignore",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    build("collision-ignore = [\"/usr/*/engine\", \"/usr/bin/runtime\"]\n").expect("allowed");
}

#[test]
fn an_expired_archive_is_refused_unless_the_recipe_allows_it() {
    let context = TestContext::new();
    republish(&context, |release| format!("Valid-Until: Sat, 05 Dec 2020 02:13:54 UTC\n{release}"));
    let error = context.build(&context.recipe("engine", ENGINE)).expect_err("expired");
    assert!(error.is_host());
    let text = report(&context, &error);
    let expected = "its Release file is valid until Sat, 05 Dec 2020 02:13:54 UTC, and the time is 20";
    assert!(text.contains(expected) && text.contains("allow-expired"), "{text}");
    let recipe = context.recipe("engine", &format!("{ENGINE}allow-expired = true\n"));
    assert_eq!(names(&context.build(&recipe).expect("built")), ["engine", "runtime"]);
    let context = TestContext::new();
    republish(&context, |release| format!("Valid-Until: Sat, 05 Dec 2099 02:13:54 UTC\n{release}"));
    context.build(&context.recipe("engine", ENGINE)).expect("still valid");
}

#[test]
fn a_package_that_was_changed_after_signing_is_refused() {
    let context = TestContext::new();
    let deb = context.path("archive/pool/extras.deb");
    let mut bytes = fs::read(&deb).expect("read");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(&deb, bytes).expect("written");
    let error = context
        .build(&context.recipe("extras", "[[debian]]\npackages = [\"extras\"]\n"))
        .expect_err("refused");
    assert!(report(&context, &error).contains("has SHA-256"), "{}", report(&context, &error));
}

/// Publishes a changed Release file, signed with a new key that the base trusts.
fn republish(context: &TestContext, change: impl Fn(&str) -> String) {
    let root = context.path("");
    let release = change(&fs::read_to_string(root.join("Release")).expect("read"));
    fs::write(root.join("Release"), release).expect("written");
    sign(&root, &context.path("archive/dists/test/InRelease"), "key.gpg");
}

#[test]
fn compressed_indices_by_hash_and_detached_signatures_are_supported() {
    let context = TestContext::new();
    let suite = context.path("archive/dists/test");
    let index = suite.join("main/binary-amd64/Packages");
    let packed = liblzma::encode_all(&fs::read(&index).expect("read")[..], 1).expect("compressed");
    fs::remove_file(&index).expect("removed");
    let digest = hex::encode(Sha256::digest(&packed));
    let by_hash = suite.join("main/binary-amd64/by-hash/SHA256");
    fs::create_dir_all(&by_hash).expect("made");
    fs::write(by_hash.join(&digest), &packed).expect("written");
    republish(&context, |release| {
        format!("Acquire-By-Hash: yes\n{release} {digest} {} main/binary-amd64/Packages.xz\n", packed.len())
    });
    let recipe = context.recipe("engine", ENGINE);
    assert_eq!(names(&context.build(&recipe).expect("built")), ["engine", "runtime"]);
    // Older archives have no InRelease.
    let home = tempfile::tempdir_in("/tmp").expect("a directory");
    let gpg = new_key(&home, &context.path("key.gpg"));
    fs::copy(context.path("Release"), suite.join("Release")).expect("copied");
    run(gpg()
        .args(["--detach-sign", "--armor", "--output"])
        .arg(suite.join("Release.gpg"))
        .arg(suite.join("Release")));
    run(Command::new("gpgconf").arg("--homedir").arg(home.path()).args(["--kill", "all"]));
    fs::remove_file(suite.join("InRelease")).expect("removed");
    fs::remove_dir_all(context.path("cache")).expect("removed");
    assert_eq!(names(&context.build(&recipe).expect("built")), ["engine", "runtime"]);
    fs::write(suite.join("Release"), "Suite: test\n").expect("written");
    fs::remove_dir_all(context.path("cache")).expect("removed");
    let error = context.build(&recipe).expect_err("changed after it was signed");
    assert!(
        report(&context, &error).contains("was changed after it was signed"),
        "{}",
        report(&context, &error)
    );
}

#[test]
fn indices_that_differ_from_the_signed_release_are_refused() {
    let refused = |change: &dyn Fn(&TestContext)| {
        let context = TestContext::new();
        change(&context);
        let error = context.build(&context.recipe("engine", ENGINE)).expect_err("refused");
        assert!(error.is_host(), "{error}");
        report(&context, &error)
    };
    let index = refused(&|context| {
        let index = context.path("archive/dists/test/main/binary-amd64/Packages");
        let text = fs::read_to_string(&index).expect("read").replace("1.7-3", "9.7-3");
        fs::write(index, text).expect("written");
    });
    assert!(
        index.contains("cannot fetch `main/binary-amd64/Packages`") && index.contains("SHA-256"),
        "{index}"
    );
    let suite = refused(&|context| republish(context, |release| release.replace(": test\n", ": other\n")));
    assert!(suite.contains("is of the suite `other`, expected `test`"), "{suite}");
    let component = refused(&|context| republish(context, |release| release.replace("main/", "contrib/")));
    assert!(component.contains("no index of the component `main` for amd64"), "{component}");
    let gone = refused(&|context| fs::remove_file(context.path("archive/pool/engine.deb")).expect("removed"));
    assert!(gone.contains("cannot fetch engine 2:1.0-1") && gone.contains("`apt-lists`"), "{gone}");
    let unsigned = refused(&|context| {
        fs::copy(context.path("Release"), context.path("archive/dists/test/InRelease")).expect("copied");
    });
    assert!(unsigned.contains("cannot verify the signature of"), "{unsigned}");
}

#[test]
fn an_archive_with_a_signature_of_another_key_is_refused() {
    let context = TestContext::new();
    let root = context.path("");
    sign(&root, &context.path("archive/dists/test/InRelease"), "another.gpg");
    let error = context.build(&context.recipe("engine", ENGINE)).expect_err("refused");
    assert!(
        report(&context, &error).contains(
            "hint: install or update debian-archive-keyring: the keyring does not contain the archive's key"
        ),
        "{}",
        report(&context, &error)
    );
    assert!(error.is_host());
}
