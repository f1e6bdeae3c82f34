// SPDX-License-Identifier: Apache-2.0
//! The archive that a base was made from: its indices, verified by the signature of the suite, and its
//! packages, verified by the indices. The host's package manager is not used.
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, FileError, Hint, Store, StoreError, digest, fs};
use loadgauge_images::Base;
use loadgauge_images::signature::{Keyring, SignatureError};
use serde::{Deserialize, Serialize};

use super::index::Index;
use super::release::Release;
use crate::fetch::{self, FetchError};
use crate::unpack::decoder;

/// The age at which the indices of an archive are fetched again.
const INDEX_LIFETIME: Duration = Duration::from_hours(24);
/// Version of the stored indices; to be increased when their contents change.
const FORMAT: &str = "2";
/// Limit of a `Release` file in bytes; Debian's has about 150,000.
const MAXIMUM_RELEASE: u64 = 16 << 20;
/// Limit of a decompressed index in bytes; Debian's largest has about 60 million.
const MAXIMUM_INDEX: u64 = 1 << 30;
/// Packages that are fetched in parallel.
const PARALLEL_DOWNLOADS: usize = 4;
/// Suffixes of compressed indices, the preferred one first.
const COMPRESSIONS: [&str; 3] = [".xz", ".gz", ""];

/// A package of an archive that goes into an extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// its name
    pub name: String,
    /// its version, with epoch and revision
    pub version: String,
    /// `amd64`, `arm64` or `all`
    pub architecture: String,
    /// SHA-256 of the package file in hex, from the signed index
    pub sha256: String,
    /// size of the package file in bytes
    pub size: u64,
}

/// An archive whose packages cannot be looked up or fetched.
#[derive(Debug, thiserror::Error)]
pub enum DebianArchiveError {
    /// a file cannot be fetched, or differs from the index
    #[error("cannot fetch {what} from {archive}")]
    Fetch {
        /// the file or package
        what: String,
        /// mirror and suite
        archive: String,
        /// why it cannot be fetched
        source: FetchError,
    },
    /// the signature is invalid or of an unknown key
    #[error("cannot verify the signature of {archive}")]
    Signature {
        /// mirror and suite
        archive: String,
        /// what is wrong with the signature
        source: SignatureError,
    },
    /// the `Release` file is of another suite
    #[error("cannot use {archive}: its Release file is of the suite `{found}`, expected `{expected}`")]
    Suite {
        /// mirror and suite
        archive: String,
        /// the configured suite
        expected: String,
        /// the names in the `Release` file
        found: String,
    },
    /// the `Release` file has expired
    #[error("cannot use {archive}: its Release file is valid until {until}, and the time is {now}")]
    Expired {
        /// mirror and suite
        archive: String,
        /// `Valid-Until`
        until: String,
        /// the time of this host
        now: String,
    },
    /// the archive has no index of this component and architecture
    #[error("cannot use {archive}: it has no index of the component `{component}` for {architecture}")]
    NoIndex {
        /// mirror and suite
        archive: String,
        /// `main`
        component: String,
        /// Debian's name of the architecture
        architecture: &'static str,
    },
    /// the current index does not have the version
    #[error("cannot fetch {name} {version} from {archive}: the archive no longer has this version")]
    Gone {
        /// mirror and suite
        archive: String,
        /// name of the package
        name: String,
        /// its version
        version: String,
    },
    /// a file cannot be read or written
    #[error(transparent)]
    File(#[from] FileError),
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hint for DebianArchiveError {
    fn hint(&self) -> Option<String> {
        const STALE: &str = "remove `packages` and `apt-lists` from the cache and run again: the archive has changed since its index was fetched";
        match self {
            Self::Gone { .. } => Some(STALE.to_owned()),
            Self::Fetch { source, .. }
                if source.is_absent() || matches!(source, FetchError::Digest { .. }) =>
            {
                Some(STALE.to_owned())
            }
            Self::Fetch { source, .. } => source.hint(),
            Self::Signature {
                source: SignatureError::UnknownKey { .. } | SignatureError::Keys { .. },
                ..
            } => Some(
                "install or update debian-archive-keyring: the keyring does not contain the archive's key"
                    .to_owned(),
            ),
            Self::Signature { source, .. } => source.hint(),
            Self::File(error) => error.hint(),
            Self::Expired { .. } => Some(
                "set this host's clock, or use another mirror; for the archive of an old release set \
                 `allow-expired = true` in [[debian]]"
                    .to_owned(),
            ),
            Self::Suite { .. } | Self::NoIndex { .. } | Self::Store(_) => None,
        }
    }
}

type Result<T> = std::result::Result<T, DebianArchiveError>;

/// The archive of a base.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    base: &'a Base,
    /// the concatenated indices of all components
    index: Utf8PathBuf,
}

impl<'a> Archive<'a> {
    /// Opens the archive, and fetches its indices if they are not of today: an archive removes packages
    /// that its current indices no longer contain.
    ///
    /// # Errors
    /// The archive cannot be reached, its signature cannot be verified, or it has expired and
    /// `allow_expired` is not set.
    pub(super) fn open(
        base: &'a Base,
        allow_expired: bool,
        store: &Store,
        progress: &dyn Fn(&str),
    ) -> Result<Self> {
        let archive = &base.archive;
        let allow_expired = allow_expired || archive.allow_expired;
        let keyring = digest::sha256_of_file(&archive.keyring)
            .map_err(FileError::at("read the keyring", &archive.keyring))?;
        let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
            / INDEX_LIFETIME.as_secs();
        let key = digest::of_parts([
            FORMAT,
            &archive.mirror,
            &archive.suite,
            &archive.components.join(" "),
            &keyring,
            base.architecture.debian_name(),
            &today.to_string(),
            if allow_expired { "expired" } else { "valid" },
        ]);
        let directory = match store.entry("apt-lists", &key)? {
            Entry::Ready(directory) => directory,
            Entry::Vacant(vacancy) => {
                progress(&format!("package index of {}", describe(base)));
                fetch_indices(base, allow_expired, vacancy.directory())?;
                vacancy.commit()?
            }
        };
        Ok(Self { base, index: directory.join("Packages") })
    }

    /// The concatenated indices of all components.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn index(&self) -> Result<Vec<u8>> {
        Ok(fs::read(&self.index)?)
    }

    /// Fetches the packages that are not in the store, several in parallel.
    ///
    /// # Errors
    /// The archive cannot be reached, or a file differs from the index.
    pub(super) fn fetch(&self, packages: &[Package], store: &Store) -> Result<()> {
        let index = Index::of_archive(self.index()?);
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            while let Some(package) = packages.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.fetch_one(package, &index, store) {
                    next.store(packages.len(), Ordering::Relaxed);
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL_DOWNLOADS.min(packages.len()) {
                scope.spawn(work);
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn fetch_one(&self, package: &Package, index: &Index, store: &Store) -> Result<()> {
        let vacancy = match store.entry("deb", &package.sha256)? {
            Entry::Ready(_) => return Ok(()),
            Entry::Vacant(vacancy) => vacancy,
        };
        let is_relative = |path: &String| !path.split('/').any(|part| matches!(part, "" | "." | ".."));
        let path = index.file_name(&package.name, &package.version).filter(is_relative);
        let path = path.ok_or_else(|| DebianArchiveError::Gone {
            archive: describe(self.base),
            name: package.name.clone(),
            version: package.version.clone(),
        })?;
        let url = format!("{}/{path}", self.base.archive.mirror.trim_end_matches('/'));
        let target = vacancy.directory().join(package.file_name());
        fetch::fetch_to(&url, &package.sha256, package.size, &target).map_err(|source| {
            let what = format!("{} {}", package.name, package.version);
            DebianArchiveError::Fetch { what, archive: describe(self.base), source }
        })?;
        vacancy.commit()?;
        Ok(())
    }
}

impl Package {
    /// Debian's name of the package file: the colon of an epoch is written as `%3a`.
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }

    /// The path of the package file in the store; `None` where it was not fetched.
    pub fn stored(&self, store: &Store) -> Option<Utf8PathBuf> {
        let path = store.root().join("deb").join(&self.sha256).join(self.file_name());
        path.is_file().then_some(path)
    }
}

/// Writes the indices of all components to `Packages` in a directory.
fn fetch_indices(base: &Base, allow_expired: bool, directory: &Utf8Path) -> Result<()> {
    let now = SystemTime::now();
    let suite = format!("{}/dists/{}", base.archive.mirror.trim_end_matches('/'), base.archive.suite);
    let release = Release::parse(&signed_release(base, &suite)?);
    if let Some(until) = release.valid_until.as_ref().filter(|until| !allow_expired && until.is_over(now)) {
        let now = humantime::format_rfc3339_seconds(now).to_string();
        return Err(DebianArchiveError::Expired { archive: describe(base), until: until.text.clone(), now });
    }
    if !release.names.is_empty() && !release.names.contains(&base.archive.suite) {
        return Err(DebianArchiveError::Suite {
            archive: describe(base),
            expected: base.archive.suite.clone(),
            found: release.names.join("`/`"),
        });
    }
    let (path, packed) = (directory.join("Packages"), directory.join("packed"));
    let mut index = File::create_new(&path).map_err(FileError::at("create", &path))?;
    for component in &base.archive.components {
        let suffix = fetch_index(base, &suite, &release, component, &packed)?;
        let file = fs::open(&packed)?;
        let failed = FileError::at;
        let mut reader = decoder(suffix, io::BufReader::new(file))
            .map_err(|_| failed("decompress", &packed)(io::ErrorKind::InvalidData.into()))?
            .take(MAXIMUM_INDEX);
        io::copy(&mut reader, &mut index)
            .and_then(|_| io::Write::write_all(&mut index, b"\n"))
            .map_err(failed("decompress to", &path))?;
        fs::remove_file(&packed)?;
    }
    Ok(())
}

/// The verified text of `InRelease`, or of `Release` with its detached signature.
fn signed_release(base: &Base, suite: &str) -> Result<String> {
    let unverified = |source| DebianArchiveError::Signature { archive: describe(base), source };
    let read = |name: &str| fetch::read(&format!("{suite}/{name}"), MAXIMUM_RELEASE);
    let failed = |what: &str| {
        let (what, archive) = (format!("`{what}`"), describe(base));
        move |source| DebianArchiveError::Fetch { what, archive, source }
    };
    let keyring = Keyring::read(&base.archive.keyring).map_err(unverified)?;
    let not_text = || unverified(SignatureError::Form("it is not UTF-8".to_owned()));
    match read("InRelease") {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| not_text())?;
            Ok(keyring.verify_clearsigned(&text).map_err(unverified)?.0)
        }
        Err(error) if error.is_absent() => {
            let text = read("Release").map_err(failed("Release"))?;
            let signature = read("Release.gpg").map_err(failed("Release.gpg"))?;
            keyring.verify_detached(&text, &signature).map_err(unverified)?;
            String::from_utf8(text).map_err(|_| not_text())
        }
        Err(error) => Err(failed("InRelease")(error)),
    }
}

/// Fetches the index of a component, and returns the suffix of its compression.
fn fetch_index(
    base: &Base,
    suite: &str,
    release: &Release,
    component: &str,
    target: &Utf8Path,
) -> Result<&'static str> {
    let architecture = base.architecture.debian_name();
    let directory = format!("{component}/binary-{architecture}");
    let mut absent = None;
    for suffix in COMPRESSIONS {
        let path = format!("{directory}/Packages{suffix}");
        let Some(listed) = release.files.get(&path) else { continue };
        let mut urls = vec![format!("{suite}/{path}")];
        if release.by_hash {
            urls.insert(0, format!("{suite}/{directory}/by-hash/SHA256/{}", listed.sha256));
        }
        for url in urls {
            match fetch::fetch_to(&url, &listed.sha256, listed.size, target) {
                Ok(()) => return Ok(suffix),
                Err(error) if error.is_absent() => absent = Some(error),
                Err(source) => {
                    let (what, archive) = (format!("`{path}`"), describe(base));
                    return Err(DebianArchiveError::Fetch { what, archive, source });
                }
            }
        }
    }
    let archive = describe(base);
    Err(match absent {
        Some(source) => {
            DebianArchiveError::Fetch { what: format!("the index of `{component}`"), archive, source }
        }
        None => DebianArchiveError::NoIndex { archive, component: component.to_owned(), architecture },
    })
}

fn describe(base: &Base) -> String {
    format!("{} {} ({})", base.archive.mirror, base.archive.suite, base.architecture)
}
