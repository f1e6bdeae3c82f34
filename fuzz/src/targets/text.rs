// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_builder::Recipe;
use loadgauge_builder::elf::Object;
use loadgauge_builder::lint::BaseTree;
use loadgauge_images::{Architecture, OsRelease};

use super::{seeds, text_of};

/// Parses a recipe: an error must name a line that the text has.
pub(super) fn recipe(bytes: &[u8]) {
    let Some(text) = text_of(bytes) else { return };
    if let Err(error) = Recipe::parse(text, Utf8Path::new("/nowhere/x.toml")) {
        let told = error.to_string();
        let line = told.split(':').nth(1).and_then(|line| line.parse::<usize>().ok());
        assert!(line.is_some_and(|line| line <= text.matches('\n').count() + 1), "{told}");
    }
}

pub(super) fn recipes() -> Vec<Vec<u8>> {
    seeds([
        "name = \"hello\"\nversion = \"1\"\n[[file]]\npath = \"/usr/bin/x\"\nmode = \"0755\"\ncontents = \"x\"\n\
         [finish]\nremove = [\"/usr/**\"]\nmove = { \"/usr/sbin\" = \"/usr/bin\" }\n[pack]\nformat = \"ddi\"\n",
        "name = \"x\"\n[[gentoo]]\npackages = [\"a/b\"]\npackage-use = [\"a/b ssl\"]\nbinhost = \"https://x/{board}\"\n",
        "name = \"x\"\n[[archive]]\nurl = \"https://x/y\"\nsha256 = \"00\"\n[[image]]\nsource = \"y\"\n\
         [[debian]]\npackages = [\"x\"]\n[publish]\nurl = \"https://x\"\n",
    ])
}

pub(super) fn os_release(bytes: &[u8]) {
    let Some(text) = text_of(bytes) else { return };
    if let Ok(release) = OsRelease::parse(text) {
        for (name, value) in release.iter() {
            // An empty value counts as absent.
            assert_eq!(release.get(name).unwrap_or_default(), value);
        }
    }
}

pub(super) fn os_releases() -> Vec<Vec<u8>> {
    seeds(["ID=flatcar\nVERSION_ID='4593.2.0'\n# x\nNAME=\"a \\\"b\\\" $\"\n\nEMPTY=\n"])
}

pub(super) fn contents(bytes: &[u8]) {
    let Some(text) = text_of(bytes) else { return };
    let tree = BaseTree::parse(text);
    assert!(tree.is_complete() != tree.is_empty());
}

pub(super) fn contents_lists() -> Vec<Vec<u8>> {
    seeds(["drwxr-xr-x  2 root    root       4096 2025-01-01 00:00 ./usr\n\
            lrwxrwxrwx  1 root    root          3 2025-01-01 00:00 ./usr/sbin -> bin\n\
            -rwxr-xr-x  1 root    root         10 2025-01-01 00:00 ./usr/bin/odd ./name -> x\n"])
}

pub(super) fn elf(bytes: &[u8]) {
    for architecture in [Architecture::Amd64, Architecture::Arm64] {
        if let Ok(Some(object)) = Object::read(bytes, architecture) {
            assert!(object.needed.len() <= bytes.len());
        }
    }
}

/// Returns programs of the host, because making one would need a compiler.
pub(super) fn elfs() -> Vec<Vec<u8>> {
    ["/bin/true", "/bin/sh"].iter().filter_map(|path| loadgauge_host::fs::read(path).ok()).collect()
}
