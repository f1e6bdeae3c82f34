// SPDX-License-Identifier: Apache-2.0
//! Extensions whose programs need shared libraries, which are in the extension, in the base, in another
//! extension, or nowhere.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod workbench;

use loadgauge_host::Hint as _;
use std::fs;
use std::process::Command;

use camino::Utf8PathBuf;
use loadgauge_builder::{BuildError, Built, Format, Recipe, Target, build};
use loadgauge_host::Store;
use loadgauge_images::Architecture;
use workbench::Place;

const ARCHITECTURE: Architecture =
    if cfg!(target_arch = "aarch64") { Architecture::Arm64 } else { Architecture::Amd64 };

/// A base with the host's loader and libc, and recipes beside programs that were compiled for it.
struct Bench(Place);

impl Bench {
    fn new() -> Self {
        let bench = Self(Place::new());
        for (triplet, loader) in
            [("x86_64-linux-gnu", "ld-linux-x86-64.so.2"), ("aarch64-linux-gnu", "ld-linux-aarch64.so.1")]
        {
            let libc = format!("/lib/{triplet}/libc.so.6");
            if fs::exists(&libc).expect("asked") {
                let directory = bench.0.path(&format!("base/usr/lib/{triplet}"));
                fs::create_dir_all(&directory).expect("made");
                fs::copy(&libc, directory.join("libc.so.6")).expect("copied");
                fs::copy(format!("/lib/{triplet}/{loader}"), directory.join(loader)).expect("copied");
                let place = if loader.contains("x86") { "usr/lib64" } else { "usr/lib" };
                fs::create_dir_all(bench.0.path(&format!("base/{place}"))).expect("made");
                let link = bench.0.path(&format!("base/{place}/{loader}"));
                std::os::unix::fs::symlink(format!("/lib/{triplet}/{loader}"), link).expect("linked");
            }
        }
        bench.compile("libtwo.so.1", "int two(void){return 2;}", &["-shared", "-Wl,-soname,libtwo.so.1"]);
        let two = bench.path("libtwo.so.1");
        bench.compile("app", "int two(void); int main(void){return two();}", &[two.as_str()]);
        bench
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.0.path(name)
    }

    fn compile(&self, name: &str, text: &str, arguments: &[&str]) {
        let source = self.path(&format!("{name}.c"));
        fs::write(&source, text).expect("written");
        let mut command = Command::new("cc");
        command.arg("-o").arg(self.path(name)).arg(&source).args(arguments);
        assert!(command.status().expect("cc runs").success());
    }

    fn recipe(&self, name: &str, head: &str, files: &[&str], finish: &str) -> Recipe {
        let files: Vec<String> = files
            .iter()
            .map(|path| {
                let source = path.rsplit('/').next().unwrap_or(path);
                format!("[[file]]\npath = \"{path}\"\nmode = \"0755\"\nsource = \"{source}\"\n")
            })
            .collect();
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, format!("name = \"{name}\"\n{head}\n{}{finish}", files.concat())).expect("written");
        Recipe::load(&path).expect("a recipe")
    }

    fn build(&self, recipe: &Recipe) -> Result<Built, String> {
        self.build_on(recipe, Some(self.path("base")))
    }

    fn build_on(&self, recipe: &Recipe, root: Option<Utf8PathBuf>) -> Result<Built, String> {
        let target = Target { root, architecture: ARCHITECTURE, ..self.0.target() };
        let store = Store::at(self.path("cache"));
        build(recipe, &target, Format::Directory, &store, &|_| {}).map_err(|error| {
            assert!(matches!(error, BuildError::Unlinked(_)), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("allow-missing-libraries")));
            error.to_string()
        })
    }
}

#[test]
fn a_missing_library_is_an_error_that_names_the_file_and_the_library() {
    let bench = Bench::new();
    let alone = bench.recipe("alone", "", &["/usr/bin/app"], "");
    let error = bench.build(&alone).expect_err("no libtwo");
    let expected =
        "`/usr/bin/app` needs the library `libtwo.so.1`, which neither the extension nor the base has";
    assert!(error.ends_with(expected), "{error}");
    let aside = bench.recipe("aside", "", &["/usr/bin/app", "/usr/lib/aside/libtwo.so.1"], "");
    let error = bench.build(&aside).expect_err("outside the search path");
    assert!(error.contains("is outside the loader's search path: /usr/lib/aside/libtwo.so.1"), "{error}");
    for glob in ["libtwo.so.*", "/usr/bin/*"] {
        let finish = format!("[finish]\nallow-missing-libraries = [\"{glob}\"]\n");
        let built = bench.build(&bench.recipe("allowed", "", &["/usr/bin/app"], &finish)).expect("allowed");
        assert_eq!(built.warnings, [""; 0]);
    }
}

#[test]
fn a_library_is_found_in_the_extension_and_in_a_base_extension() {
    let bench = Bench::new();
    let whole = bench.recipe("whole", "", &["/usr/bin/app", "/usr/lib/libtwo.so.1"], "");
    assert_eq!(bench.build(&whole).expect("whole").warnings, [""; 0]);
    bench.recipe("before", "", &["/usr/lib/libtwo.so.1"], "");
    let after = bench.recipe("after", "base-extensions = [\"before\"]", &["/usr/bin/app"], "");
    assert_eq!(bench.build(&after).expect("the library is in the base extension").warnings, [""; 0]);
    bench.recipe("before", "", &["/usr/lib/aside/libtwo.so.1"], "");
    bench.build(&after).expect_err("the base extension has changed");
}

#[test]
fn an_unknown_base_is_a_warning_unless_there_are_no_programs() {
    let bench = Bench::new();
    let alone = bench.recipe("alone", "", &["/usr/bin/app"], "");
    let built = bench.build_on(&alone, None).expect("built");
    assert!(
        built.warnings.iter().any(|warning| warning.contains("libraries of its programs were not checked")),
        "{built:?}"
    );
    let script = bench.recipe("script", "", &["/usr/share/app.c"], "");
    assert_eq!(bench.build_on(&script, None).expect("built").warnings, [""; 0]);
}

#[test]
fn declared_dlopen_dependencies_are_checked() {
    let bench = Bench::new();
    let note = |priority: &str| {
        let json = format!(
            "[{{\\\\\\\"soname\\\\\\\":[\\\\\\\"libnone.so.3\\\\\\\"],\\\\\\\"priority\\\\\\\":\\\\\\\"{priority}\\\\\\\",\
             \\\\\\\"description\\\\\\\":\\\\\\\"Music\\\\\\\"}}]"
        );
        format!(
            "__asm__(\".pushsection .note.dlopen,\\\"a\\\",%note\\n.balign 4\\n.long 4\\n.long 9f-8f\\n.long 0x407c0c0a\\n\
             .asciz \\\"FDO\\\"\\n8: .asciz \\\"{json}\\\"\\n9: .balign 4\\n.popsection\\n\");int x;"
        )
        .replace('\n', "\\n")
    };
    for (priority, warns) in [("required", true), ("recommended", true), ("suggested", false)] {
        bench.compile("plugin.so", &note(priority), &["-shared"]);
        let recipe = bench.recipe("plugin", "", &["/usr/lib/plugin.so"], "");
        let warnings = bench.build(&recipe).expect("built").warnings;
        let expected = format!(
            "/usr/lib/plugin.so loads `libnone.so.3` at run time, which is missing ({priority}: Music)"
        );
        assert_eq!(warnings.contains(&expected), warns, "{priority}: {warnings:?}");
    }
}
