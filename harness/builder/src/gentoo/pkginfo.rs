// SPDX-License-Identifier: Apache-2.0
//! The package database of an extension, as Portage would have written it.
use std::collections::BTreeSet;
use std::fmt::Write as _;

use camino::Utf8Path;
use loadgauge_host::{FileError, fs};
use md5::{Digest as _, Md5};

use super::database;
use super::selection::SelectedPackage;
use super::xpak::Entries;
use crate::stage::{Node, NodeKind, Staged};

/// The files of a package in the database: its metadata, and `CONTENTS`, which lists the files of the
/// package that are in the extension.
///
/// Times in `CONTENTS` are 0: all files of an extension get the same time later.
pub(super) fn entries(
    package: &SelectedPackage,
    metadata: &Entries,
    staged: &Staged,
    origin: &str,
) -> Vec<(String, Vec<u8>)> {
    let directory = format!("{}/{}-{}", database::PATH, package.name, package.version);
    let metadata = metadata.iter().filter(|(key, _)| is_file_name(key) && key.as_str() != "CONTENTS");
    let mut files: Vec<(String, Vec<u8>)> =
        metadata.map(|(key, value)| (format!("{directory}/{key}"), value.clone())).collect();
    files.push((format!("{directory}/CONTENTS"), contents(staged, origin).into_bytes()));
    files
}

/// Whether a key can be the name of a file.
fn is_file_name(key: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-+".contains(&byte);
    !key.is_empty() && !key.starts_with('.') && key.bytes().all(valid)
}

fn contents(staged: &Staged, origin: &str) -> String {
    let own = |node: &Node| node.kind != NodeKind::Directory && node.origin.as_ref() == origin;
    let files: Vec<_> = staged.nodes().filter(|(_, node)| own(node)).collect();
    let directories: BTreeSet<&Utf8Path> = files
        .iter()
        .flat_map(|(path, _)| path.ancestors().skip(1))
        .filter(|path| !path.as_str().is_empty())
        .collect();
    let mut text = String::new();
    for path in directories {
        let _ = writeln!(text, "dir /{path}");
    }
    for (path, node) in files {
        let _ = match &node.kind {
            NodeKind::Link { target } => writeln!(text, "sym /{path} -> {target} 0"),
            _ => writeln!(text, "obj /{path} {} 0", md5_of(&staged.root().join(path)).unwrap_or_default()),
        };
    }
    text
}

fn md5_of(path: &Utf8Path) -> Result<String, FileError> {
    let mut hash = Md5::new();
    std::io::copy(&mut fs::open(path)?, &mut hash).map_err(FileError::at("read", path))?;
    Ok(hex::encode(hash.finalize()))
}
