// SPDX-License-Identifier: Apache-2.0
//! Local files that a config takes in.

use std::{fs, io};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use serde_saphyr::Spanned;

use super::{ButaneCause, ButaneError, read::at};

/// The directory from which local files are read, and nothing outside of it.
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
        fs::read(&found).map_err(|source| unreadable(path, found, source))
    }

    pub(super) fn read_text(&self, path: &Spanned<String>) -> Result<String, ButaneError> {
        let not_text = |_| at(&path.referenced, ButaneCause::NotText(self.directory.join(&path.value)));
        String::from_utf8(self.read(path)?).map_err(not_text)
    }

    /// Where a local path leads, which is inside the directory even when links are followed.
    pub(super) fn locate(&self, path: &Spanned<String>) -> Result<Utf8PathBuf, ButaneError> {
        let relative = Utf8Path::new(&path.value);
        let outside = || {
            let files = self.directory.to_owned();
            at(&path.referenced, ButaneCause::Outside { path: path.value.clone(), files })
        };
        let stays = |part| matches!(part, Utf8Component::Normal(_) | Utf8Component::CurDir);
        if !relative.components().all(stays) {
            return Err(outside());
        }
        let joined = self.directory.join(relative);
        let canonical =
            |of: &Utf8Path| of.canonicalize_utf8().map_err(|source| unreadable(path, of.to_owned(), source));
        let found = canonical(&joined)?;
        if found.starts_with(canonical(self.directory)?) { Ok(joined) } else { Err(outside()) }
    }
}

pub(super) fn unreadable(from: &Spanned<String>, path: Utf8PathBuf, source: io::Error) -> ButaneError {
    at(&from.referenced, ButaneCause::Local { path, source })
}
