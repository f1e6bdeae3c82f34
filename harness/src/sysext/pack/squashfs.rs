// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_images::host::{CommandExt as _, Tool};

use super::{Identity, PackError};
use crate::sysext::stage::Staged;

/// As Flatcar's SDK packs (zstd, blocks of 512 KiB), but at a level that takes seconds.
///
/// mksquashfs sorts names itself. It takes times from its arguments or from `SOURCE_DATE_EPOCH`,
/// and refuses both together.
pub(super) fn pack(
    staged: &Staged,
    level: Option<u32>,
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), PackError> {
    let epoch = identity.epoch.to_string();
    let level = level.unwrap_or(3).to_string();
    let mut command = Tool::find("mksquashfs")?.command();
    command.env_remove("SOURCE_DATE_EPOCH").arg(staged.root()).arg(output);
    command.args(["-comp", "zstd", "-Xcompression-level", &level, "-b", "512k"]);
    command.args(["-all-root", "-no-xattrs", "-noappend", "-no-progress", "-quiet"]);
    command.args(["-mkfs-time", &epoch, "-all-time", &epoch]);
    command.run()?;
    Ok(())
}
