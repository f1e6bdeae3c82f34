// SPDX-License-Identifier: Apache-2.0
//! The files that dpkg has installed in a base.
use camino::Utf8Path;
use loadgauge_host::{CommandExt as _, Entry, Store, Tool, digest};

use super::control::Paragraph;
use super::dpkg_status::control;
use super::relation::parse_relations;
use super::source::DebianError;
use crate::owned_files::{DPKG_LISTS, OwnedFiles};
use crate::target::Target;

/// Version of the stored lists; to be increased when their form changes.
const FORMAT: &str = "1";

/// The files of the packages in the root of a base; none where the root is not known. The lists of a
/// squashfs are unpacked once and stored.
///
/// # Errors
/// The root cannot be read.
pub(super) fn owned_files(target: &Target<'_>, store: &Store) -> Result<OwnedFiles, DebianError> {
    let Some(root) = &target.root else { return Ok(OwnedFiles::default()) };
    if root.is_dir() {
        return Ok(OwnedFiles::of_dpkg(&root.join(DPKG_LISTS))?);
    }
    let key = digest::of_parts([FORMAT, &target.root_key()]);
    let directory = match store.entry("dpkg-lists", &key)? {
        Entry::Ready(directory) => directory,
        Entry::Vacant(vacancy) => {
            let mut command = Tool::find("unsquashfs")?.command();
            command.args(["-no-progress", "-no-xattrs", "-quiet", "-dest"]);
            command.arg(vacancy.directory().join("root")).arg(root).arg(format!("{DPKG_LISTS}/*.list"));
            command.run().map_err(|source| DebianError::BaseFiles { path: root.clone(), source })?;
            vacancy.commit()?
        }
    };
    Ok(OwnedFiles::of_dpkg(&directory.join("root").join(DPKG_LISTS))?)
}

/// Whether a package file declares that it replaces a package, in whatever version: dpkg then lets it
/// overwrite the files of that package.
pub(super) fn replaces(file: &Utf8Path, owner: &str) -> bool {
    let Ok(text) = control(file) else { return false };
    let field = Paragraph::new(text.as_bytes()).field("Replaces").unwrap_or_default();
    parse_relations(&field).unwrap_or_default().iter().any(|relation| relation.name == owner)
}
