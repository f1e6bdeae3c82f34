// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Deserialize;
use toml::Spanned;

/// Changes to the complete tree, in this order: `install-mask`, `script`, `etc`, `remove`, `move`,
/// `upholds`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Finish {
    /// globs of paths to leave out, whether any exist or not, as Portage's `INSTALL_MASK`
    #[serde(default)]
    pub install_mask: Vec<Spanned<String>>,
    /// a script beside the recipe, run in the tree
    pub script: Option<Spanned<Utf8PathBuf>>,
    /// files and directories beside the recipe that the script reads: it sees no others
    #[serde(default)]
    pub script_inputs: Vec<Spanned<Utf8PathBuf>>,
    /// the treatment of /etc; by default its files are left out
    pub etc: Option<Etc>,
    /// globs of paths to remove, each of which must match something
    #[serde(default)]
    pub remove: Vec<Spanned<String>>,
    /// directories whose contents move to another one, such as `/usr/sbin` to `/usr/bin`
    #[serde(default, rename = "move")]
    pub moves: BTreeMap<String, Spanned<String>>,
    /// libraries that may be missing: globs of their names, or of the paths of files that need them
    #[serde(default)]
    pub allow_missing_libraries: Vec<Spanned<String>>,
    /// units that a target upholds once the extension is merged: systemd does not evaluate the
    /// `[Install]` sections of extensions
    #[serde(default)]
    pub upholds: BTreeMap<String, Vec<String>>,
}

/// The treatment of files that belong in /etc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Etc {
    /// they are stored in `/usr/share/NAME/etc`, and systemd-tmpfiles copies them
    Tmpfiles,
}
