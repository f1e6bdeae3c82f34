// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::{CommandExt as _, Tool};

use super::options::SquashfsCompression;
use super::{Identity, PackError};
use crate::stage::Staged;

/// Packs with mksquashfs, which sorts names itself. It takes times from its arguments or from
/// `SOURCE_DATE_EPOCH`, and refuses both together.
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
    command.args(["-all-root", "-no-xattrs", "-noappend", "-no-progress", "-quiet"]);
    command.args(["-mkfs-time", &epoch, "-all-time", &epoch]);
    command.run()?;
    Ok(())
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
