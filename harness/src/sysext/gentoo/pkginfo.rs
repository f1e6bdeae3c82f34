// SPDX-License-Identifier: Apache-2.0
//! The package database of what an extension adds, as Portage would have written it.
use std::fmt::Write as _;
use std::fs::File;
use std::io;

use camino::Utf8Path;
use md5::{Digest as _, Md5};

use super::super::stage::{NodeKind, Staged};
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
    let mut text = String::new();
    for (path, node) in staged.nodes() {
        let within = node.origin.as_ref() == origin;
        let _ = match &node.kind {
            NodeKind::Directory => writeln!(text, "dir /{path}"),
            _ if !within => continue,
            NodeKind::File { .. } => {
                writeln!(text, "obj /{path} {} 0", md5_of(&staged.root().join(path)).unwrap_or_default())
            }
            NodeKind::Link { target } => writeln!(text, "sym /{path} -> {target} 0"),
        };
    }
    text
}

fn md5_of(path: &Utf8Path) -> io::Result<String> {
    let mut hash = Md5::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}
