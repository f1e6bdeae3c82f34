// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};

use super::options::Options;

/// The embedded files that stand-ins are made of.
static MATERIAL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets");
/// The directory of the dracut module of an era.
const ERA_MODULE: &str = "usr/lib/dracut/modules.d/51era";

/// A file of the tree, with the options filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TreeFile {
    /// path without a leading slash
    pub(super) path: String,
    pub(super) content: Vec<u8>,
    /// permission bits; scripts are executable
    pub(super) mode: u32,
}

/// Returns all files of the tree with the options filled in, sorted by path.
///
/// The files of the era, which have the same layout as in the guest, replace the common ones.
pub(super) fn files(options: &Options) -> Vec<TreeFile> {
    let era = options.blueprint.era();
    let mut files = BTreeMap::new();
    for (directory, target) in [
        ("root".to_owned(), ""),
        (format!("eras/{era}/root"), ""),
        (format!("eras/{era}/initrd"), ERA_MODULE),
    ] {
        if let Some(found) = MATERIAL.get_dir(&directory) {
            collect(found, &directory, target, options, &mut files);
        }
    }
    files.into_values().collect()
}

fn collect(
    directory: &Dir<'_>,
    root: &str,
    target: &str,
    options: &Options,
    files: &mut BTreeMap<String, TreeFile>,
) {
    for file in directory.files() {
        let content = match file.contents_utf8() {
            Some(text) => fill(text, options).into_bytes(),
            None => file.contents().to_vec(),
        };
        let mode = if content.starts_with(b"#!") { 0o755 } else { 0o644 };
        let below = file.path().strip_prefix(root).unwrap_or(file.path()).to_string_lossy();
        let path = if target.is_empty() { below.into_owned() } else { format!("{target}/{below}") };
        files.insert(path.clone(), TreeFile { path, content, mode });
    }
    for below in directory.dirs() {
        collect(below, root, target, options, files);
    }
}

/// Returns an embedded text with the options filled in, if it exists.
pub(super) fn text(path: &str, options: &Options) -> Option<String> {
    MATERIAL.get_file(path).and_then(include_dir::File::contents_utf8).map(|text| fill(text, options))
}

/// Returns a hook: the script of the era, or else the common one.
pub(super) fn hook(name: &str, options: &Options) -> Option<String> {
    let era = options.blueprint.era();
    text(&format!("eras/{era}/{name}"), options).or_else(|| text(name, options))
}

/// Returns the packages of the base.
///
/// These are the packages in `packages.txt`; `packages-SUITE.txt` adds packages or, with a leading `-`,
/// removes them.
pub(super) fn packages(options: &Options) -> Vec<String> {
    let suite = format!("packages-{}.txt", options.blueprint.suite);
    let mut names = Vec::new();
    for list in ["packages.txt", &suite] {
        let text = text(list, options).unwrap_or_default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix('-') {
                Some(absent) => names.retain(|name| name != absent),
                None => names.push(line.to_owned()),
            }
        }
    }
    names
}

/// Replaces placeholders such as `@VERSION@` in files and scripts with the options' values.
pub(super) fn fill(text: &str, options: &Options) -> String {
    text.replace("@VERSION@", &options.blueprint.release.to_string())
        .replace("@CHANNEL@", options.blueprint.release.channel().unwrap_or("developer"))
        .replace("@ARCHITECTURE@", options.architecture.debian_name())
}

/// Returns the files as a tar archive owned by root, without entries for directories.
pub(super) fn archive(files: &[TreeFile], time: u64) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(file.content.len() as u64);
        header.set_mode(file.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(time);
        builder.append_data(&mut header, &file.path, file.content.as_slice())?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLUEPRINTS;
    use loadgauge_images::OsRelease;

    fn options() -> impl Iterator<Item = Options> {
        BLUEPRINTS.into_iter().map(|blueprint| Options { blueprint, ..Options::default() })
    }

    fn content(path: &str, options: &Options) -> (String, u32) {
        let file =
            files(options).into_iter().find(|file| file.path == path).expect("the file is in the tree");
        (String::from_utf8(file.content).expect("text"), file.mode)
    }

    #[test]
    fn os_release_is_flatcars_and_says_that_it_is_a_stand_in() {
        for options in options() {
            let release = OsRelease::parse(&content("usr/lib/os-release", &options).0).expect("valid");
            assert_eq!(release.get("ID"), Some("flatcar"));
            assert_eq!(release.get("VERSION_ID"), Some(options.blueprint.release.to_string().as_str()));
            assert_eq!(release.get("FLATCAR_BOARD"), Some("amd64-usr"));
            assert_eq!(release.get("VARIANT_ID"), Some("loadgauge-standin"));
            assert!(release.get("PRETTY_NAME").is_some_and(|name| name.contains("stand-in")));
        }
    }

    #[test]
    fn scripts_can_be_executed_and_units_cannot() {
        let module = "usr/lib/dracut/modules.d/50standin";
        let mode = |name: &str| content(&format!("{module}/{name}"), &Options::default()).1;
        assert_eq!((mode("ignition-quench"), mode("ignition-quench.service")), (0o755, 0o644));
    }

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        for file in options().flat_map(|options| files(&options)) {
            let text = String::from_utf8_lossy(&file.content);
            for word in ["@VERSION@", "@CHANNEL@", "@ARCHITECTURE@"] {
                assert!(!text.contains(word), "{}", file.path);
            }
        }
    }

    #[test]
    fn docker_is_not_in_the_base() {
        for options in options() {
            let names = packages(&options);
            assert!(
                names.iter().any(|name| name == "systemd") && names.iter().any(|name| name == "ignition")
            );
            for absent in ["docker.io", "docker-cli", "containerd", "runc", "tini", "apt"] {
                assert!(!names.iter().any(|name| name == absent), "{absent}");
            }
        }
    }
}
