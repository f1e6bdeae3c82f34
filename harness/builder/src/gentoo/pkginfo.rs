// SPDX-License-Identifier: Apache-2.0
//! The package database of what an extension adds, as Portage would have written it.
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io;

use camino::Utf8Path;
use md5::{Digest as _, Md5};

use super::super::stage::{Node, NodeKind, Staged};
use super::database;
use super::source::Chosen;
use super::xpak::Entries;

/// The files of one package in the database: what its package file says of it, and `CONTENTS`, the
/// list of what of it is in the extension.
///
/// Times in `CONTENTS` are 0: those of an extension are decided later, and the same for all files.
pub(super) fn entries(
    package: &Chosen,
    values: &Entries,
    staged: &Staged,
    origin: &str,
) -> Vec<(String, Vec<u8>)> {
    let place = format!("{}/{}-{}", database::PLACE, package.name, package.version);
    let own = values.iter().filter(|(key, _)| is_key(key) && key.as_str() != "CONTENTS");
    let mut files: Vec<(String, Vec<u8>)> =
        own.map(|(key, value)| (format!("{place}/{key}"), value.clone())).collect();
    files.push((format!("{place}/CONTENTS"), contents(staged, origin).into_bytes()));
    files
}

/// The name of an entry becomes the name of a file.
fn is_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-+".contains(&byte);
    !key.is_empty() && !key.starts_with('.') && key.bytes().all(plain)
}

fn contents(staged: &Staged, origin: &str) -> String {
    let own = |node: &Node| node.kind != NodeKind::Directory && node.origin.as_ref() == origin;
    let files: Vec<_> = staged.nodes().filter(|(_, node)| own(node)).collect();
    let above: BTreeSet<&Utf8Path> = files
        .iter()
        .flat_map(|(path, _)| path.ancestors().skip(1))
        .filter(|path| !path.as_str().is_empty())
        .collect();
    let mut text = String::new();
    for path in above {
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

fn md5_of(path: &Utf8Path) -> io::Result<String> {
    let mut hash = Md5::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}
