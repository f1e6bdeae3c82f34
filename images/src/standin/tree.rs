// SPDX-License-Identifier: Apache-2.0
use include_dir::{Dir, include_dir};

use super::options::Options;

/// What is laid over the packages' files, as it lies in the guest.
static TREE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/standin/root");

/// A file of the tree, finished.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TreeFile {
    /// path without a leading slash
    pub(super) path: String,
    pub(super) content: Vec<u8>,
    /// permission bits: scripts can be executed
    pub(super) mode: u32,
}

/// All files of the tree with the options filled in, in the order of their paths.
pub(super) fn files(options: &Options) -> Vec<TreeFile> {
    let mut files = Vec::new();
    collect(&TREE, options, &mut files);
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files
}

fn collect(directory: &Dir<'_>, options: &Options, files: &mut Vec<TreeFile>) {
    for file in directory.files() {
        let content = match file.contents_utf8() {
            Some(text) => fill(text, options).into_bytes(),
            None => file.contents().to_vec(),
        };
        let mode = if content.starts_with(b"#!") { 0o755 } else { 0o644 };
        files.push(TreeFile { path: file.path().to_string_lossy().into_owned(), content, mode });
    }
    for below in directory.dirs() {
        collect(below, options, files);
    }
}

/// Replaces the words in at signs that files and scripts have for the options.
pub(super) fn fill(text: &str, options: &Options) -> String {
    text.replace("@VERSION@", &options.release.to_string())
        .replace("@ARCHITECTURE@", options.architecture.debian_name())
}

/// The files as a tar archive that belongs to root; directories are left to whoever unpacks it.
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
    use crate::OsRelease;

    fn content(path: &str) -> (String, u32) {
        let files = files(&Options::default());
        let file = files.into_iter().find(|file| file.path == path).expect("the file is in the tree");
        (String::from_utf8(file.content).expect("text"), file.mode)
    }

    #[test]
    fn os_release_is_flatcars_and_says_that_it_is_a_stand_in() {
        let release = OsRelease::parse(&content("usr/lib/os-release").0).expect("valid");
        assert_eq!(release.get("ID"), Some("flatcar"));
        assert_eq!(release.get("VERSION_ID"), Some("4593.2.0"));
        assert_eq!(release.get("FLATCAR_BOARD"), Some("amd64-usr"));
        assert_eq!(release.get("VARIANT_ID"), Some("loadgauge-standin"));
        assert!(release.get("PRETTY_NAME").is_some_and(|name| name.contains("stand-in")));
    }

    #[test]
    fn scripts_can_be_executed_and_units_cannot() {
        let module = "usr/lib/dracut/modules.d/50standin";
        assert_eq!(content(&format!("{module}/ignition-quench")).1, 0o755);
        assert_eq!(content(&format!("{module}/ignition-quench.service")).1, 0o644);
    }

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        for file in files(&Options::default()) {
            let text = String::from_utf8(file.content).expect("text");
            assert!(!text.contains("@VERSION@") && !text.contains("@ARCHITECTURE@"), "{}", file.path);
        }
    }
}
