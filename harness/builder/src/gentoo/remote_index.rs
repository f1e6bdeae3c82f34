// SPDX-License-Identifier: Apache-2.0
//! The index of a binhost with a URL: stored, and fetched again only when it has changed.
use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, FileError, Store, digest, fs};
use serde::{Deserialize, Serialize};

use super::binhost_error::BinhostError;
use super::index::Index;
use crate::fetch::{self, FetchError, Fetched, Validators};

/// Limit of a fetched index in bytes.
const MAXIMUM_INDEX: u64 = 256 << 20;
/// Names of the index, the preferred one first.
const NAMES: [&str; 2] = ["Packages.gz", "Packages"];
/// The kind of store entry with an index, under its digest.
const KIND: &str = "gentoo-index";
/// The file of such an entry, and the directory with the last state of each URL.
const FILE: &str = "Packages";
const STATE: &str = "gentoo-binhost";

/// The index that was fetched last from a URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct CachedIndex {
    /// one of [`NAMES`]
    name: String,
    /// its digest in hex
    sha256: String,
    /// `ETag` and `Last-Modified` of the response
    validators: Validators,
}

/// The path of the current index of a URL that ends with `/`.
///
/// A conditional request (RFC 9110, chapter 13) detects a change. If the server cannot be reached, the
/// stored index is used, which is reported as progress.
///
/// # Errors
/// See [`BinhostError`].
pub(super) fn fetch(url: &str, store: &Store, progress: &dyn Fn(&str)) -> Result<Utf8PathBuf, BinhostError> {
    let state = store.root().join(STATE).join(format!("{}.json", digest::of_parts([url])));
    let cached = fs::read(&state).ok().and_then(|text| serde_json::from_slice::<CachedIndex>(&text).ok());
    let stored = cached.and_then(|cached| {
        let path = store.root().join(KIND).join(&cached.sha256).join(FILE);
        path.is_file().then_some((cached, path))
    });
    let validators = stored.as_ref().map(|(cached, _)| (cached.name.as_str(), &cached.validators));
    match (fetch_if_changed(url, validators), stored) {
        (Ok(None), Some((_, path))) => Ok(path),
        (Ok(Some((name, bytes, validators))), _) => {
            progress(&format!("package index of {url}"));
            // Only a valid index is stored.
            Index::read(&bytes).map_err(|source| BinhostError::Index { binhost: url.to_owned(), source })?;
            let (sha256, path) = add_to_store(&bytes, store)?;
            write_state(&state, &CachedIndex { name: name.to_owned(), sha256, validators })?;
            Ok(path)
        }
        (Err(error), Some((_, path))) if !error.is_absent() => {
            progress(&format!("using the stored index, since the binhost does not answer: {error}"));
            Ok(path)
        }
        (Err(error), _) => Err(error.into()),
        (Ok(None), None) => Err(FetchError::Unasked { url: url.to_owned() }.into()),
    }
}

type Response = Option<(&'static str, Vec<u8>, Validators)>;

/// Fetches the index; `None` where it is the cached one.
fn fetch_if_changed(url: &str, cached: Option<(&str, &Validators)>) -> Result<Response, FetchError> {
    let mut absent = None;
    for name in NAMES {
        let validators = cached.filter(|(cached, _)| *cached == name).map(|(_, validators)| validators);
        match fetch::read_if_changed(&format!("{url}{name}"), MAXIMUM_INDEX, validators) {
            Ok(Fetched::Unchanged) => return Ok(None),
            Ok(Fetched::New(bytes, validators)) => return Ok(Some((name, bytes, validators))),
            Err(error) if error.is_absent() => absent = Some(error),
            Err(error) => return Err(error),
        }
    }
    absent.map_or(Ok(None), Err)
}

fn add_to_store(bytes: &[u8], store: &Store) -> Result<(String, Utf8PathBuf), BinhostError> {
    let sha256 = digest::sha256(bytes);
    let directory = match store.entry(KIND, &sha256)? {
        Entry::Ready(directory) => directory,
        Entry::Vacant(vacancy) => {
            let path = vacancy.directory().join(FILE);
            fs::write(&path, bytes)?;
            vacancy.commit()?
        }
    };
    Ok((sha256, directory.join(FILE)))
}

/// Writes the state of a URL atomically, since other processes may read it at the same time.
fn write_state(path: &Utf8Path, state: &CachedIndex) -> Result<(), FileError> {
    let failed = || FileError::at("write", path);
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed())?;
    let text = serde_json::to_vec(state).map_err(|error| failed()(error.into()))?;
    file.write_all(&text).map_err(failed())?;
    file.persist(path).map(drop).map_err(|error| failed()(error.error))
}
