// SPDX-License-Identifier: Apache-2.0
//! The installed packages of a base, read from its squashfs.
use std::collections::BTreeSet;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{
    CommandError, CommandExt as _, Entry, FileError, Hint, MissingTool, Store, StoreError, Tool, digest, fs,
};

use super::database::{self, DatabaseError};
use super::package::Package;
use crate::owned_files::OwnedFiles;

/// A base whose packages cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// the host has no unsquashfs
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// unsquashfs failed
    #[error("cannot read the package database in `{path}`")]
    Command {
        /// the squashfs
        path: Utf8PathBuf,
        /// the failure of unsquashfs
        source: CommandError,
    },
    /// the base has no package database
    #[error("cannot read the installed packages of `{0}`: it has no `/{path}`", path = database::PATH)]
    NoDatabase(Utf8PathBuf),
    /// a file cannot be read
    #[error(transparent)]
    File(#[from] FileError),
    /// the database is invalid
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BaseError {
    /// Whether the cause is the host, not the base.
    pub(super) fn is_host(&self) -> bool {
        !matches!(self, Self::NoDatabase(_) | Self::Database(_))
    }
}

impl Hint for BaseError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(error) => error.hint(),
            Self::File(error) => error.hint(),
            _ => None,
        }
    }
}

/// Reads the installed packages of a base: a root directory, or the squashfs of one.
///
/// The database of a squashfs is unpacked once and stored.
///
/// # Errors
/// See [`BaseError`].
pub(super) fn packages(base: &Utf8Path, store: &Store) -> Result<Vec<Package>, BaseError> {
    let root = if base.is_dir() { base.to_owned() } else { unpacked(base, store)? };
    let path = root.join(database::PATH);
    if !path.is_dir() {
        return Err(BaseError::NoDatabase(base.to_owned()));
    }
    Ok(database::read(&path)?)
}

/// The files of the installed packages of a base, without those of packages that added ones replace: `added`
/// has names with slots.
///
/// # Errors
/// See [`BaseError`].
pub(super) fn owned_files(
    base: &Utf8Path,
    store: &Store,
    added: &BTreeSet<(String, String)>,
) -> Result<OwnedFiles, BaseError> {
    let root = if base.is_dir() { base.to_owned() } else { unpacked(base, store)? };
    let mut owned = OwnedFiles::default();
    for package in packages(base, store)? {
        if !added.contains(&(package.name.clone(), package.slot.clone())) {
            let name = format!("{}-{}", package.name, package.version);
            let contents = root.join(database::PATH).join(&name).join("CONTENTS");
            owned.add_portage_contents(&name, &contents)?;
        }
    }
    Ok(owned)
}

fn unpacked(squashfs: &Utf8Path, store: &Store) -> Result<Utf8PathBuf, BaseError> {
    let metadata = fs::metadata(squashfs)?;
    let modified = metadata.modified().map_err(FileError::at("examine", squashfs))?;
    let modified = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // The file is too large for a digest of its contents in each run.
    let key = digest::of_parts([
        fs::canonicalize(squashfs)?.to_string_lossy().as_ref(),
        &metadata.len().to_string(),
        &modified.as_nanos().to_string(),
    ]);
    let vacancy = match store.entry("gentoo-base", &key)? {
        Entry::Ready(directory) => return Ok(directory.join("root")),
        Entry::Vacant(vacancy) => vacancy,
    };
    let mut command = Tool::find("unsquashfs")?.command();
    command.args(["-no-progress", "-no-xattrs", "-quiet", "-dest"]).arg(vacancy.directory().join("root"));
    command.arg(squashfs).arg(database::PATH);
    command.run().map_err(|source| BaseError::Command { path: squashfs.to_owned(), source })?;
    Ok(vacancy.commit()?.join("root"))
}
