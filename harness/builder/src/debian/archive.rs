// SPDX-License-Identifier: Apache-2.0
//! The archive that a base was made from: its lists, verified by its signature, and its packages,
//! verified by the lists. Nothing of the host's own package manager is asked.
use loadgauge_host::Hint;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, Store, StoreError};
use loadgauge_images::Base;
use loadgauge_images::signature::{Keyring, SignatureError};
use serde::{Deserialize, Serialize};

use super::super::fetch::{self, FetchError};
use super::super::unpack::decoder;
use super::index::Index;
use super::release::Release;
use loadgauge_host::digest;

/// After this the lists of an archive are fetched again when packages are looked up.
const LISTS_FRESH_FOR: Duration = Duration::from_hours(24);
/// Rises when other files than before are kept of an archive.
const FORMAT: &str = "2";
/// Bytes of a `Release` file; Debian's has some 150,000.
const MAXIMUM_RELEASE: u64 = 16 << 20;
/// Bytes of an index once it is unpacked; Debian's largest has some 60 million.
const MAXIMUM_INDEX: u64 = 1 << 30;
/// How many packages are fetched at a time.
const AT_A_TIME: usize = 4;
/// Indices by how they are compressed, the best first.
const COMPRESSIONS: [&str; 3] = [".xz", ".gz", ""];

/// A package that an extension takes from an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// its name
    pub name: String,
    /// its version in Debian's order
    pub version: String,
    /// `amd64`, `arm64` or `all`
    pub architecture: String,
    /// SHA-256 of the package file in hex, as the signed lists have it
    pub sha256: String,
    /// bytes of the package file
    pub size: u64,
}

/// What keeps packages from being found or fetched.
#[derive(Debug, thiserror::Error)]
pub enum DebianArchiveError {
    /// something cannot be fetched, or is not what the lists say
    #[error("cannot fetch {what} from {archive}")]
    Fetch {
        /// what was wanted
        what: String,
        /// mirror and suite
        archive: String,
        /// why not
        source: FetchError,
    },
    /// the archive is not to be trusted
    #[error("cannot trust {archive}")]
    Signature {
        /// mirror and suite
        archive: String,
        /// why not
        source: SignatureError,
    },
    /// another suite is served under the name
    #[error("{archive} says that it is `{found}`")]
    Suite {
        /// mirror and suite
        archive: String,
        /// what it is called
        found: String,
    },
    /// it has no index for this component and architecture
    #[error("{archive} has no packages in `{component}` for {architecture}")]
    NoIndex {
        /// mirror and suite
        archive: String,
        /// `main`
        component: String,
        /// Debian's name of it
        architecture: &'static str,
    },
    /// the lists of today do not have it
    #[error("{archive} does not have {name} {version} any more")]
    Gone {
        /// mirror and suite
        archive: String,
        /// the package
        name: String,
        /// its version
        version: String,
    },
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DebianArchiveError {
    fn io(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Hint for DebianArchiveError {
    fn hint(&self) -> Option<String> {
        const STALE: &str = "the archive has changed since its lists were fetched: remove `packages` and `apt-lists` in the cache and run again";
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
                "the keyring does not hold the archive's key: install or update debian-archive-keyring"
                    .to_owned(),
            ),
            Self::Signature { source, .. } => source.hint(),
            _ => None,
        }
    }
}

type Result<T> = std::result::Result<T, DebianArchiveError>;

/// The archive of a base.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    base: &'a Base,
    lists: Utf8PathBuf,
}

impl<'a> Archive<'a> {
    /// Looks its lists up, and fetches them where they are older than a day: they are small beside the
    /// packages, and an archive removes packages that its current lists no longer name.
    ///
    /// # Errors
    /// It cannot be reached or trusted.
    pub(super) fn open(base: &'a Base, store: &Store, progress: &dyn Fn(&str)) -> Result<Self> {
        let archive = &base.archive;
        let keyring = digest::sha256_of_file(&archive.keyring)
            .map_err(DebianArchiveError::io("read the keyring", &archive.keyring))?;
        let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
            / LISTS_FRESH_FOR.as_secs();
        let key = digest::of_parts([
            FORMAT,
            &archive.mirror,
            &archive.suite,
            &archive.components.join(" "),
            &keyring,
            base.architecture.debian_name(),
            &today.to_string(),
        ]);
        let directory = match store.entry("apt-lists", &key)? {
            Entry::Ready(directory) => directory,
            Entry::Vacant(vacancy) => {
                progress(&format!("package lists of {}", describe(base)));
                fetch_lists(base, vacancy.directory())?;
                vacancy.commit()?
            }
        };
        Ok(Self { base, lists: directory.join("Packages") })
    }

    /// The archive's indices, one behind the other.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn index(&self) -> Result<Vec<u8>> {
        fs::read(&self.lists).map_err(DebianArchiveError::io("read", &self.lists))
    }

    /// Fetches the packages that the store lacks, some at a time.
    ///
    /// # Errors
    /// The archive cannot be reached, or a file is not what the lists say.
    pub(super) fn fetch(&self, packages: &[Package], store: &Store) -> Result<()> {
        let index = Index::of_archive(self.index()?);
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            while let Some(package) = packages.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.fetch_one(package, &index, store) {
                    next.store(packages.len(), Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    failed.get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME.min(packages.len()) {
                scope.spawn(work);
            }
        });
        failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn fetch_one(&self, package: &Package, index: &Index, store: &Store) -> Result<()> {
        let vacancy = match store.entry("deb", &package.sha256)? {
            Entry::Ready(_) => return Ok(()),
            Entry::Vacant(vacancy) => vacancy,
        };
        let plain = |path: &String| !path.split('/').any(|part| matches!(part, "" | "." | ".."));
        let path = index.file_of(&package.name, &package.version).filter(plain);
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
    /// What Debian calls the file: epochs are written as `%3a`.
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }

    /// Where the store keeps the package file, if it has it.
    pub fn kept(&self, store: &Store) -> Option<Utf8PathBuf> {
        let path = store.root().join("deb").join(&self.sha256).join(self.file_name());
        path.is_file().then_some(path)
    }
}

/// Writes the indices of all components to `Packages` in a directory.
fn fetch_lists(base: &Base, directory: &Utf8Path) -> Result<()> {
    let suite = format!("{}/dists/{}", base.archive.mirror.trim_end_matches('/'), base.archive.suite);
    let release = Release::parse(&signed_release(base, &suite)?);
    // A mirror that is kept as it was, as it must be for a base to be extended later, has suites that
    // expired: `Valid-Until` is not looked at.
    if !release.names.is_empty() && !release.names.contains(&base.archive.suite) {
        return Err(DebianArchiveError::Suite { archive: describe(base), found: release.names.join("`, `") });
    }
    let (path, packed) = (directory.join("Packages"), directory.join("packed"));
    let mut lists = File::create_new(&path).map_err(DebianArchiveError::io("create", &path))?;
    for component in &base.archive.components {
        let suffix = fetch_index(base, &suite, &release, component, &packed)?;
        let file = File::open(&packed).map_err(DebianArchiveError::io("open", &packed))?;
        let broken = |_| DebianArchiveError::io("unpack", &packed)(io::ErrorKind::InvalidData.into());
        let mut reader = decoder(suffix, io::BufReader::new(file)).map_err(broken)?.take(MAXIMUM_INDEX);
        io::copy(&mut reader, &mut lists)
            .and_then(|_| io::Write::write_all(&mut lists, b"\n"))
            .map_err(DebianArchiveError::io("unpack to", &path))?;
        fs::remove_file(&packed).map_err(DebianArchiveError::io("remove", &packed))?;
    }
    Ok(())
}

/// The text of the `Release` file, by a key of the keyring: `InRelease`, or with a signature beside it.
fn signed_release(base: &Base, suite: &str) -> Result<String> {
    let distrust = |source| DebianArchiveError::Signature { archive: describe(base), source };
    let read = |name: &str| fetch::read(&format!("{suite}/{name}"), MAXIMUM_RELEASE);
    let failed = |what: &str| {
        let (what, archive) = (format!("`{what}`"), describe(base));
        move |source| DebianArchiveError::Fetch { what, archive, source }
    };
    let keyring = Keyring::read(&base.archive.keyring).map_err(distrust)?;
    let form = || distrust(SignatureError::Form("it is not UTF-8".to_owned()));
    match read("InRelease") {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| form())?;
            Ok(keyring.verify_clearsigned(&text).map_err(distrust)?.0)
        }
        Err(error) if error.is_absent() => {
            let text = read("Release").map_err(failed("Release"))?;
            let signature = read("Release.gpg").map_err(failed("Release.gpg"))?;
            keyring.verify_detached(&text, &signature).map_err(distrust)?;
            String::from_utf8(text).map_err(|_| form())
        }
        Err(error) => Err(failed("InRelease")(error)),
    }
}

/// Fetches the index of a component, and says how it is compressed.
fn fetch_index(
    base: &Base,
    suite: &str,
    release: &Release,
    component: &str,
    target: &Utf8Path,
) -> Result<&'static str> {
    let architecture = base.architecture.debian_name();
    let place = format!("{component}/binary-{architecture}");
    let mut absent = None;
    for suffix in COMPRESSIONS {
        let path = format!("{place}/Packages{suffix}");
        let Some(listed) = release.files.get(&path) else { continue };
        let mut urls = vec![format!("{suite}/{path}")];
        if release.by_hash {
            urls.insert(0, format!("{suite}/{place}/by-hash/SHA256/{}", listed.sha256));
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
            DebianArchiveError::Fetch { what: format!("the list of `{component}`"), archive, source }
        }
        None => DebianArchiveError::NoIndex { archive, component: component.to_owned(), architecture },
    })
}

fn describe(base: &Base) -> String {
    format!("{} {} ({})", base.archive.mirror, base.archive.suite, base.architecture)
}
