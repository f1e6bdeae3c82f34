// SPDX-License-Identifier: Apache-2.0
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Sha256, Sha512};

use super::store::{Entry, Store};
use crate::digest::{Inputs, of_file};
use crate::fs;

/// The age of a file's last change from which its digest is cached.
///
/// A file may change again within the same tick of the clock of its timestamps, so that they do not show
/// the change.
const SETTLED: Duration = Duration::from_secs(2);

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256
    Sha256,
    /// SHA-512
    Sha512,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the digest of a file, in hex.
    fn digest(self, path: &Utf8Path) -> io::Result<String> {
        match self {
            Self::Sha256 => of_file::<Sha256>(path),
            Self::Sha512 => of_file::<Sha512>(path),
        }
    }
}

/// Computes the digest of a file, in hex, or reads it from the store.
///
/// The key consists of the file's path, inode, size and timestamps, so that all commands together read a
/// large file once. If the store cannot be written, the file is read each time.
///
/// # Errors
/// The file cannot be read.
pub fn cached_digest(path: &Utf8Path, algorithm: Algorithm, store: &Store) -> io::Result<String> {
    cached_at(SystemTime::now(), path, algorithm, store)
}

fn cached_at(now: SystemTime, path: &Utf8Path, algorithm: Algorithm, store: &Store) -> io::Result<String> {
    let real = path.canonicalize_utf8()?;
    let metadata = real.metadata()?;
    if !is_settled(&metadata, now) {
        return algorithm.digest(&real);
    }
    let entry = store.entry("digest", &key(&real, &metadata, algorithm));
    let file = |entry: &Utf8Path| entry.join(algorithm.name());
    match entry {
        Ok(Entry::Ready(entry)) => {
            let cached = fs::read_to_string(file(&entry)).unwrap_or_default();
            if is_complete(&cached) { Ok(cached) } else { algorithm.digest(&real) }
        }
        Ok(Entry::Vacant(vacancy)) => {
            let digest = algorithm.digest(&real)?;
            let written = fs::write(file(vacancy.directory()), &digest).map(|()| vacancy.commit());
            if !matches!(written, Ok(Ok(_))) {
                tracing::debug!(%path, "cannot store the digest");
            }
            Ok(digest)
        }
        Err(error) => {
            tracing::debug!(%path, %error, "cannot store the digest");
            algorithm.digest(&real)
        }
    }
}

/// Whether a file was last changed long enough ago for another change to show in its timestamps.
fn is_settled(metadata: &Metadata, now: SystemTime) -> bool {
    let changed = u64::try_from(metadata.ctime()).ok().map(Duration::from_secs);
    changed.and_then(|changed| now.duration_since(UNIX_EPOCH + changed).ok()).is_some_and(|age| age > SETTLED)
}

fn key(real: &Utf8PathBuf, metadata: &Metadata, algorithm: Algorithm) -> String {
    let mut inputs = Inputs::default();
    inputs.add("algorithm", algorithm.name());
    inputs.add("path", real.as_str());
    for number in [metadata.dev(), metadata.ino(), metadata.size()] {
        inputs.add("number", number.to_le_bytes());
    }
    for number in [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()] {
        inputs.add("time", number.to_le_bytes());
    }
    inputs.finish()
}

/// Whether a text is a complete digest, because a full disk truncates files.
fn is_complete(text: &str) -> bool {
    matches!(text.len(), 64 | 128) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use sha2::Digest as _;

    use super::*;

    /// Returns a time long after the test's last write.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_mins(1)
    }

    /// Replaces every stored digest.
    fn forge(store: &Store, text: &str) {
        let entries = store.root().join("digest").read_dir_utf8().expect("listed").flatten();
        for entry in entries.filter(|entry| entry.path().is_dir()) {
            for file in entry.path().read_dir_utf8().expect("listed").flatten() {
                fs::write(file.path(), text).expect("written");
            }
        }
    }

    #[test]
    fn a_digest_is_stored_until_the_file_changes() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let (store, file) = (Store::at(directory.join("store")), directory.join("file"));
        let digest = |algorithm| cached_at(later(), &file, algorithm, &store).expect("read");
        fs::write(&file, "one").expect("written");
        let one = hex::encode(Sha256::digest("one"));
        assert_eq!(digest(Algorithm::Sha256), one);
        assert_eq!(digest(Algorithm::Sha512), hex::encode(Sha512::digest("one")));
        let forged = "0".repeat(64);
        forge(&store, &forged);
        assert_eq!(digest(Algorithm::Sha256), forged, "read from the store");
        forge(&store, "half a dig");
        assert_eq!(digest(Algorithm::Sha256), one);
        forge(&store, &forged);
        // The new content has the same size and modification time.
        let modified = file.metadata().and_then(|metadata| metadata.modified()).expect("a time");
        std::thread::sleep(Duration::from_millis(20));
        fs::write(&file, "two").expect("written");
        File::options().write(true).open(&file).and_then(|file| file.set_modified(modified)).expect("set");
        assert_eq!(digest(Algorithm::Sha256), hex::encode(Sha256::digest("two")));
    }

    #[test]
    fn a_file_that_was_just_written_is_not_stored_and_an_unwritable_store_does_not_matter() {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let (store, file) = (Store::at(directory.join("store")), directory.join("file"));
        fs::write(&file, "one").expect("written");
        let one = hex::encode(Sha256::digest("one"));
        assert_eq!(cached_digest(&file, Algorithm::Sha256, &store).expect("read"), one);
        assert!(!store.root().exists());
        let nowhere = Store::at(file.join("store"));
        assert_eq!(cached_at(later(), &file, Algorithm::Sha256, &nowhere).expect("read"), one);
        assert!(cached_digest(&directory.join("gone"), Algorithm::Sha256, &store).is_err());
    }
}
