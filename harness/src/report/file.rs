// SPDX-License-Identifier: Apache-2.0
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use super::ReportError;

/// Writes a file so that it is there whole or not at all.
pub(super) fn write_whole(path: &Utf8Path, bytes: &[u8]) -> Result<(), ReportError> {
    let beside = Utf8PathBuf::from(format!("{path}.part"));
    fs::write(&beside, bytes).map_err(ReportError::io("write", &beside))?;
    fs::rename(&beside, path).map_err(ReportError::io("put in place", path))
}
