// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_images::image::DiskFormat;
use serde::Serialize;

/// The contents of a flash chip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flash {
    /// the file
    pub path: Utf8PathBuf,
    /// its format
    pub format: DiskFormat,
}
