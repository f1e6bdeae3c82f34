// SPDX-License-Identifier: Apache-2.0
//! The index of a binhost on another host: kept, and asked for again only where it has changed.
use std::fs;
use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, Store};
use serde::{Deserialize, Serialize};

use super::super::fetch::{self, FetchError, Fetched, Validators};
use super::binhost::BinhostError;
use super::index::Index;
use loadgauge_host::digest;

/// Bytes of an index as it is fetched.
const MAXIMUM_INDEX: u64 = 256 << 20;
/// What a binhost may call its index; the first that is there counts.
const NAMES: [&str; 2] = ["Packages.gz", "Packages"];
/// The kind of entry that holds an index, under the digest of its bytes.
const KIND: &str = "gentoo-index";

/// What is known of the index that a URL gave last.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    /// one of [`NAMES`]
    name: String,
    /// of its bytes, in hex
    sha256: String,
    /// what the server tells a change by
    validators: Validators,
}

/// The index of a URL that ends with `/`, on this host.
///
/// The server is asked each time whether it has changed (RFC 9110, chapter 13). Where it cannot be
/// reached, the index that it gave last counts, and that is told.
///
/// # Errors
/// See [`BinhostError`].
pub(super) fn bring(url: &str, store: &Store, progress: &dyn Fn(&str)) -> Result<Utf8PathBuf, BinhostError> {
    let note = store.root().join("gentoo-binhost").join(format!("{}.json", digest::of_parts([url])));
    let known = fs::read(&note).ok().and_then(|text| serde_json::from_slice::<Known>(&text).ok());
    let kept = known.and_then(|known| {
        let path = store.root().join(KIND).join(&known.sha256).join("Packages");
        path.is_file().then_some((known, path))
    });
    let validators = kept.as_ref().map(|(known, _)| (known.name.as_str(), &known.validators));
    match (ask(url, validators), kept) {
        (Ok(None), Some((_, path))) => Ok(path),
        (Ok(Some((name, bytes, validators))), _) => {
            progress(&format!("package index of {url}"));
            // Looked at before it is kept.
            Index::read(&bytes).map_err(|source| BinhostError::Index { binhost: url.to_owned(), source })?;
            let (sha256, path) = keep(&bytes, store)?;
            remember(&note, &Known { name: name.to_owned(), sha256, validators })?;
            Ok(path)
        }
        (Err(error), Some((_, path))) if !error.is_absent() => {
            progress(&format!("the binhost does not answer, and its index of last time counts: {error}"));
            Ok(path)
        }
        (Err(error), _) => Err(error.into()),
        (Ok(None), None) => Err(FetchError::Unasked { url: url.to_owned() }.into()),
    }
}

type Answer = Option<(&'static str, Vec<u8>, Validators)>;

/// The index that a binhost has now; nothing where it is the known one.
fn ask(url: &str, known: Option<(&str, &Validators)>) -> Result<Answer, FetchError> {
    let mut absent = None;
    for name in NAMES {
        let validators = known.filter(|(known, _)| *known == name).map(|(_, validators)| validators);
        match fetch::read_if_changed(&format!("{url}{name}"), MAXIMUM_INDEX, validators) {
            Ok(Fetched::Unchanged) => return Ok(None),
            Ok(Fetched::New(bytes, validators)) => return Ok(Some((name, bytes, validators))),
            Err(error) if error.is_absent() => absent = Some(error),
            Err(error) => return Err(error),
        }
    }
    absent.map_or(Ok(None), Err)
}

fn keep(bytes: &[u8], store: &Store) -> Result<(String, Utf8PathBuf), BinhostError> {
    let sha256 = digest::sha256(bytes);
    let directory = match store.entry(KIND, &sha256)? {
        Entry::Ready(directory) => directory,
        Entry::Vacant(vacancy) => {
            let path = vacancy.directory().join("Packages");
            fs::write(&path, bytes).map_err(|source| BinhostError::Read { path, source })?;
            vacancy.commit()?
        }
    };
    Ok((sha256, directory.join("Packages")))
}

/// Whoever reads it at the same time has the old one or the new one whole.
fn remember(note: &Utf8Path, known: &Known) -> Result<(), BinhostError> {
    let fail = |source| BinhostError::Read { path: note.to_owned(), source };
    let directory = note.parent().unwrap_or(note);
    fs::create_dir_all(directory).map_err(fail)?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(fail)?;
    let text = serde_json::to_vec(known).map_err(|error| fail(error.into()))?;
    file.write_all(&text).map_err(fail)?;
    file.persist(note).map(drop).map_err(|error| fail(error.error))
}
