// SPDX-License-Identifier: Apache-2.0
//! The installed packages of a base, read straight out of its squashfs.
use std::fs;
use std::io;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandError, CommandExt as _, Entry, MissingTool, Store, StoreError, Tool};

use super::database::{self, DatabaseError};
use super::package::Package;
use loadgauge_host::digest;

/// A base whose packages cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// the host has no unsquashfs
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// unsquashfs said no
    #[error("cannot read the package database in `{path}`")]
    Command {
        /// the squashfs
        path: Utf8PathBuf,
        /// its own words
        source: CommandError,
    },
    /// there is none
    #[error("`{0}` holds no {place}", place = database::PLACE)]
    None(Utf8PathBuf),
    /// a file operation failed
    #[error("cannot read `{path}`")]
    Read {
        /// which
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// the database cannot be read
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the packages of a base: a directory that is a root, or the squashfs of one.
///
/// The database is unpacked from a squashfs once and kept in the store.
///
/// # Errors
/// See [`BaseError`].
pub(super) fn packages(base: &Utf8Path, store: &Store) -> Result<Vec<Package>, BaseError> {
    let root = if base.is_dir() { base.to_owned() } else { unpacked(base, store)? };
    let place = root.join(database::PLACE);
    if !place.is_dir() {
        return Err(BaseError::None(base.to_owned()));
    }
    Ok(database::read(&place)?)
}

fn unpacked(squashfs: &Utf8Path, store: &Store) -> Result<Utf8PathBuf, BaseError> {
    let fail = |source| BaseError::Read { path: squashfs.to_owned(), source };
    let metadata = fs::metadata(squashfs).map_err(fail)?;
    let changed =
        metadata.modified().map_err(fail)?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // It is too large to be read whole for its digest each time.
    let key = digest::of_parts([
        squashfs.canonicalize_utf8().map_err(fail)?.as_str(),
        &metadata.len().to_string(),
        &changed.as_nanos().to_string(),
    ]);
    let vacancy = match store.entry("gentoo-base", &key)? {
        Entry::Ready(directory) => return Ok(directory.join("root")),
        Entry::Vacant(vacancy) => vacancy,
    };
    let mut command = Tool::find("unsquashfs")?.command();
    command.args(["-no-progress", "-no-xattrs", "-quiet", "-dest"]).arg(vacancy.directory().join("root"));
    command.arg(squashfs).arg(database::PLACE);
    command.run().map_err(|source| BaseError::Command { path: squashfs.to_owned(), source })?;
    Ok(vacancy.commit()?.join("root"))
}
