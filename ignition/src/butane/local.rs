// SPDX-License-Identifier: Apache-2.0
//! Local files of a config.

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};
use serde_saphyr::Spanned;

use super::error::{ButaneCause, ButaneError};

/// The directory of local files; no other file is read.
pub(super) struct Files<'a> {
    directory: &'a Utf8Path,
}

impl<'a> Files<'a> {
    pub(super) fn new(directory: &'a Utf8Path) -> Self {
        // An empty path, the parent of a bare file name, means the working directory.
        Self { directory: if directory.as_str().is_empty() { Utf8Path::new(".") } else { directory } }
    }

    pub(super) fn read(&self, path: &Spanned<String>) -> Result<Vec<u8>, ButaneError> {
        let found = self.locate(path)?;
        fs::read(&found).map_err(|error| ButaneError::at(&path.referenced, error))
    }

    pub(super) fn read_text(&self, path: &Spanned<String>) -> Result<String, ButaneError> {
        let not_text =
            |_| ButaneError::at(&path.referenced, ButaneCause::NotText(self.directory.join(&path.value)));
        String::from_utf8(self.read(path)?).map_err(not_text)
    }

    /// The path of a local file, which is inside the directory even when links are followed.
    pub(super) fn locate(&self, path: &Spanned<String>) -> Result<Utf8PathBuf, ButaneError> {
        let relative = Utf8Path::new(&path.value);
        let outside = || {
            let files = self.directory.to_owned();
            ButaneError::at(&path.referenced, ButaneCause::Outside { path: path.value.clone(), files })
        };
        let stays = |part| matches!(part, Utf8Component::Normal(_) | Utf8Component::CurDir);
        if !relative.components().all(stays) {
            return Err(outside());
        }
        let joined = self.directory.join(relative);
        let canonical = |of: &Utf8Path| {
            let resolved = of.canonicalize_utf8().map_err(FileError::at("read", of));
            resolved.map_err(|error: FileError| ButaneError::at(&path.referenced, error))
        };
        let found = canonical(&joined)?;
        if found.starts_with(canonical(self.directory)?) { Ok(joined) } else { Err(outside()) }
    }
}
