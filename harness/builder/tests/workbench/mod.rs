// SPDX-License-Identifier: Apache-2.0
//! Extensions built in a place of a test's own, and what tools say of them.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_builder::lint::BaseLinks;
use loadgauge_builder::{BuildError, Built, Format, Recipe, Target, build};
use loadgauge_host::{CommandExt as _, Store, Tool};
use loadgauge_images::{Architecture, OsRelease};

pub(crate) const FORMATS: [Format; 6] =
    [Format::Directory, Format::Squashfs, Format::Erofs, Format::Ext4, Format::Btrfs, Format::Ddi];

/// A cache and a scratch directory of a test's own.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) release: OsRelease,
}

impl Place {
    pub(crate) fn new() -> Self {
        let release = OsRelease::parse("ID=flatcar\nVERSION_ID=4593.2.5\nSYSEXT_LEVEL=1.0\n").expect("valid");
        Self { directory: tempfile::tempdir().expect("a directory"), release }
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.directory.path()).expect("UTF-8").join(name)
    }

    pub(crate) fn target(&self) -> Target<'_> {
        let links = BaseLinks::new();
        Target {
            os_release: &self.release,
            architecture: Architecture::Amd64,
            systemd: None,
            base: None,
            portage: None,
            root: None,
            links,
        }
    }

    pub(crate) fn build(&self, recipe: &Recipe, format: Format) -> Result<Built, BuildError> {
        build(recipe, &self.target(), format, &Store::at(self.path("cache")), &|_| {})
    }
}

pub(crate) fn catalogue(name: &str) -> Recipe {
    let path = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../scenarios/recipes/{name}.toml"));
    Recipe::load(&path).expect("a recipe of the catalogue")
}

/// What a tool prints on an image.
pub(crate) fn ask(tool: &str, arguments: &[&str], image: &Utf8Path) -> String {
    let output = Tool::find(tool).expect("a tool of the host").command().args(arguments).arg(image).run();
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// A tree that holds what packers treat in different ways: an empty file, one that is larger than
/// a block, two names of one text, a long link, a directory of many names.
pub(crate) fn rich_recipe(place: &Place) -> Recipe {
    let tree = place.path("tree");
    fs::create_dir_all(tree.join("usr/share/rich/many")).expect("made");
    fs::create_dir_all(tree.join("opt/rich/empty")).expect("made");
    for number in 0..700 {
        fs::write(tree.join(format!("usr/share/rich/many/file-{number}")), format!("{number}\n"))
            .expect("written");
    }
    fs::write(tree.join("usr/share/rich/nothing"), "").expect("written");
    fs::write(tree.join("usr/share/rich/name with \"quotes\""), "x").expect("written");
    let text: Vec<String> = (0..300_000).map(|number| number.to_string()).collect();
    fs::write(tree.join("usr/share/rich/large"), text.join("\n")).expect("written");
    std::os::unix::fs::symlink(format!("../{}", "x/".repeat(60)), tree.join("usr/share/long")).expect("made");
    // Links that lead upwards among others, and names that a `/` would sort otherwise.
    let links = tree.join("usr/share/rich/links");
    fs::create_dir_all(links.join("b")).expect("made");
    fs::write(links.join("b/inside"), "x").expect("written");
    for (name, target) in [("a", "../nothing"), ("b.up", "../large"), ("c", "b/inside"), ("d", "../../x")] {
        std::os::unix::fs::symlink(target, links.join(name)).expect("made");
    }
    let path = place.path("rich.toml");
    fs::write(&path, "name = \"rich\"\n[[tree]]\nsource = \"tree\"\n").expect("written");
    Recipe::load(&path).expect("a recipe")
}

/// Everything in a directory: path, mode, and what it holds or points to.
pub(crate) fn contents(directory: &Utf8Path) -> Vec<(String, u32, Vec<u8>)> {
    walkdir::WalkDir::new(directory)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.expect("read"))
        .filter(|entry| entry.file_name() != "lost+found")
        .map(|entry| {
            let metadata = entry.metadata().expect("read");
            let bytes = if metadata.is_symlink() {
                fs::read_link(entry.path()).expect("read").into_os_string().into_encoded_bytes()
            } else if metadata.is_file() {
                fs::read(entry.path()).expect("read")
            } else {
                Vec::new()
            };
            let path = entry.path().strip_prefix(directory).expect("inside").display().to_string();
            (path, metadata.permissions().mode(), bytes)
        })
        .collect()
}
