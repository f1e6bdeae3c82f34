// SPDX-License-Identifier: Apache-2.0
use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};
use serde::{Deserialize, Serialize};

use crate::build_error::BuildError;
use crate::describe::Component;
use crate::explain::Explanation;
use crate::extension::Extension;

/// The file with the description of a kept build.
const FILE: &str = "built.json";

/// A built extension, from this build or an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// the extension
    pub extension: Extension,
    /// the packages in it
    pub packages: Vec<Component>,
    /// the reasons for the packages
    pub explanation: Explanation,
    /// files of its sources outside /usr and /opt, which were left out
    pub dropped: Vec<Utf8PathBuf>,
    /// set-user-ID and set-group-ID programs in it, relative to the root
    pub set_id: Vec<Utf8PathBuf>,
    /// the names of the files that describe it, in the same directory
    pub described: Vec<String>,
    /// warnings for its author
    pub warnings: Vec<String>,
    /// whether it was built before
    #[serde(default)]
    pub cached: bool,
}

impl Built {
    /// Writes the description of a build into its directory.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(&self, directory: &Utf8Path) -> Result<(), BuildError> {
        // The directory is renamed when the build is complete.
        let mut kept = self.clone();
        kept.extension.path = kept.extension.path.file_name().unwrap_or_default().into();
        let path = directory.join(FILE);
        let text = serde_json::to_string_pretty(&kept)
            .map_err(|error| FileError::at("write", &path)(error.into()))?;
        Ok(fs::write(&path, text)?)
    }

    /// Reads the description of a kept build.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub(super) fn read(directory: &Utf8Path) -> Result<Self, BuildError> {
        let path = directory.join(FILE);
        let text = fs::read_to_string(&path)?;
        let mut built: Self =
            serde_json::from_str(&text).map_err(|error| FileError::at("read", &path)(error.into()))?;
        built.extension.path = directory.join(&built.extension.path);
        built.cached = true;
        Ok(built)
    }
}
