// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::{FileError, fs};

use super::layout::Layout;

/// The directory of a running machine's files. Dropping it removes the directory.
#[derive(Debug)]
pub(crate) struct RuntimeDirectory {
    path: Utf8PathBuf,
}

impl RuntimeDirectory {
    /// Creates the directories of a layout. The one for records may exist; the other must not.
    pub(crate) fn create(layout: &Layout) -> Result<Self, FileError> {
        fs::create_dir_all(layout.records())?;
        fs::create_dir(layout.runtime())?;
        Ok(Self { path: layout.runtime().to_owned() })
    }
}

impl Drop for RuntimeDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path, %error, "cannot remove the directory of a machine");
        }
    }
}
