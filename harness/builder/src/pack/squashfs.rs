// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use camino::Utf8Path;
use loadgauge_host::{CommandExt as _, Scratch, Tool, fs};

use super::options::SquashfsCompression;
use super::{Identity, PackError};
use crate::owner::Owner;
use crate::stage::Staged;

/// Packs with mksquashfs, which sorts names itself. It takes times from its arguments or from
/// `SOURCE_DATE_EPOCH`, and refuses both together.
///
/// `-all-root` overrides every other owner. Where files do not belong to root, the owners of all files are
/// therefore in a file of pseudo definitions, which needs no root on the host.
pub(super) fn pack(
    staged: &Staged,
    (compression, level): (SquashfsCompression, Option<u32>),
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), PackError> {
    let epoch = identity.epoch.to_string();
    let mut command = Tool::find("mksquashfs")?.command();
    command.env_remove("SOURCE_DATE_EPOCH").arg(staged.root()).arg(output);
    command.args(arguments(compression, level));
    command.args(["-no-xattrs", "-noappend", "-no-progress", "-quiet"]);
    command.args(["-mkfs-time", &epoch, "-all-time", &epoch]);
    let scratch = Scratch::new()?;
    let definitions = scratch.path().join("definitions");
    if staged.not_of_root().next().is_none() {
        command.arg("-all-root");
    } else {
        fs::write(&definitions, pseudo_definitions(staged))?;
        command.args(["-root-uid", "0", "-root-gid", "0", "-pf"]).arg(&definitions);
    }
    command.run()?;
    Ok(())
}

/// A pseudo definition of mksquashfs(1) for every file: `"/usr/bin/mandb" m 4755 6 12`.
fn pseudo_definitions(staged: &Staged) -> String {
    let mut text = String::new();
    for (path, node) in staged.nodes() {
        let name = path.as_str().replace('\\', "\\\\").replace('"', "\\\"");
        let Owner { uid, gid } = node.owner;
        let _ = writeln!(text, "\"/{name}\" m {:o} {uid} {gid}", node.mode);
    }
    text
}

/// The options of Flatcar's SDK (zstd, blocks of 512 KiB), but with a level that takes seconds by default.
fn arguments(compression: SquashfsCompression, level: Option<u32>) -> Vec<String> {
    let list = |arguments: &[&str]| arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let with_level =
        |name: &str, level: u32| list(&["-comp", name, "-Xcompression-level", &level.to_string()]);
    match compression {
        SquashfsCompression::Gzip => with_level("gzip", level.unwrap_or(9)),
        SquashfsCompression::Zstd => [with_level("zstd", level.unwrap_or(3)), list(&["-b", "512k"])].concat(),
        SquashfsCompression::Xz => list(&["-comp", "xz", "-b", "512k"]),
        SquashfsCompression::Lz4 => list(&["-comp", "lz4"]),
        SquashfsCompression::None => list(&["-noI", "-noD", "-noF", "-noX"]),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn names_are_escaped_for_mksquashfs() {
        let mut staged = Staged::new_in(Utf8Path::new("/tmp")).expect("a stage");
        let (origin, path): (Arc<str>, _) = (Arc::from("a test"), Utf8Path::new("usr/a \"b\" \\c"));
        staged.put_file(path, 0o4755, &mut &b"x"[..], &origin).expect("a file");
        staged.set_owner(path, Owner { uid: 6, gid: 12 });
        assert_eq!(
            pseudo_definitions(&staged),
            "\"/usr\" m 755 0 0\n\"/usr/a \\\"b\\\" \\\\c\" m 4755 6 12\n"
        );
    }
}
