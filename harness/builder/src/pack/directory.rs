// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::fs;

use super::PackError;
use crate::stage::Staged;

/// Moves the tree out of the stage. Its files belong to the user who builds it; whatever copies it to a
/// machine must give them to root.
pub(super) fn pack(staged: &Staged, output: &Utf8Path) -> Result<(), PackError> {
    Ok(fs::rename(staged.root(), output)?)
}
