// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_images::host::{CommandExt as _, Tool};

use super::{Identity, PackError};
use crate::sysext::stage::Staged;

/// With the options of Flatcar's SDK, but at a level that takes seconds. Kernels from 6.1 read it
/// (`fragments`); Flatcar's have erofs from release 4284.
pub(super) fn pack(
    staged: &Staged,
    level: Option<u32>,
    identity: &Identity,
    output: &Utf8Path,
) -> Result<(), PackError> {
    let mut command = Tool::find("mkfs.erofs")?.command();
    command.env_remove("SOURCE_DATE_EPOCH");
    command.arg(format!("-zlz4hc,{}", level.unwrap_or(3)));
    command.args(["-C65536", "-Efragments,ztailpacking", "--all-root", "-x-1", "--quiet"]);
    command.arg(format!("-T{}", identity.epoch)).arg(format!("-U{}", identity.uuid("erofs")));
    command.arg(output).arg(staged.root()).run()?;
    Ok(())
}
