// SPDX-License-Identifier: Apache-2.0
use std::fs;

use camino::Utf8Path;

use super::PackError;
use crate::stage::Staged;

/// Leaves the tree as it is, and takes it out of the stage. Owners are the builder's: whoever puts it on a machine makes them
/// root's.
pub(super) fn pack(staged: &Staged, output: &Utf8Path) -> Result<(), PackError> {
    fs::rename(staged.root(), output).map_err(PackError::io("move the tree to", output))
}
