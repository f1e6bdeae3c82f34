// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};

/// What the parser needs to know about a scenario file beside its text.
#[derive(Debug, Clone)]
pub struct ParseContext {
    /// name of the scenario
    pub name: String,
    /// the file, as the user would name it; relative paths in it start at its directory
    pub file: Utf8PathBuf,
    /// directories of recipes, searched in this order
    pub recipes: Vec<Utf8PathBuf>,
}

impl ParseContext {
    /// The directory of the scenario file.
    pub(super) fn directory(&self) -> &Utf8Path {
        let directory = self.file.parent().filter(|directory| !directory.as_str().is_empty());
        directory.unwrap_or(Utf8Path::new("."))
    }
}
