// SPDX-License-Identifier: Apache-2.0
//! Files from other hosts, each kept in the store under its digest.
use loadgauge_host::Hint;
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, Store, StoreError};
use serde::{Deserialize, Serialize};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use loadgauge_host::digest;

/// How long a server may keep silent.
const SILENCE: Duration = Duration::from_mins(1);
/// How often a download that broke off is begun anew, and what is waited before.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);
/// The kind of entry in the store.
const KIND: &str = "download";

/// A file that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// the server does not give it
    #[error("cannot fetch `{url}`")]
    Http {
        /// what was asked for
        url: String,
        /// why not
        source: Box<ureq::Error>,
    },
    /// it broke off, or a local file cannot be read
    #[error("cannot read `{url}`")]
    Read {
        /// what was asked for
        url: String,
        /// why not
        source: io::Error,
    },
    /// it is larger than it is said to be
    #[error("`{url}` goes on after {limit} bytes, where it should end")]
    TooLong {
        /// what was asked for
        url: String,
        /// bytes
        limit: u64,
    },
    /// it is another file than was asked for
    #[error("`{url}` has the SHA-256 {found}, and {expected} was expected")]
    Digest {
        /// what was asked for
        url: String,
        /// as it should be, in hex
        expected: String,
        /// as it is
        found: String,
    },
    /// the server says that nothing has changed where nothing was known
    #[error("`{url}` is said to be unchanged, and was never fetched")]
    Unasked {
        /// what was asked for
        url: String,
    },
    /// the cache cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
    /// a file of the cache cannot be written
    #[error("cannot write `{path}`")]
    Write {
        /// which
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
}

impl FetchError {
    /// Whether the server says that it does not have the file.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Http { source, .. } => matches!(source.as_ref(), ureq::Error::StatusCode(404 | 410)),
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

impl Hint for FetchError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Http { source, .. } => match source.as_ref() {
                ureq::Error::StatusCode(404) => Some(
                    "the server has no such file any more: fetch the archive's lists again, or mend the URL"
                        .to_owned(),
                ),
                ureq::Error::StatusCode(_) => None,
                _ => Some("check the network, and http_proxy where there is a proxy".to_owned()),
            },
            Self::Digest { .. } => Some(
                "the file was changed at its source, or on the way: look before you change the digest"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// The file of a URL (`http:`, `https:` or `file:`) that has a digest, fetched unless the store has it.
/// Two that want the same wait for one of them.
///
/// # Errors
/// See [`FetchError`]. Nothing is kept that is not what was asked for.
pub(super) fn fetch(url: &str, sha256: &str, limit: u64, store: &Store) -> Result<Utf8PathBuf, FetchError> {
    let name = "file";
    let vacancy = match store.entry(KIND, sha256)? {
        Entry::Ready(directory) => return Ok(directory.join(name)),
        Entry::Vacant(vacancy) => vacancy,
    };
    fetch_to(url, sha256, limit, &vacancy.directory().join(name))?;
    Ok(vacancy.commit()?.join(name))
}

/// Writes what is at a URL and has a digest to a path.
///
/// # Errors
/// See [`FetchError`]. A file of another digest is left there.
pub(super) fn fetch_to(url: &str, sha256: &str, limit: u64, path: &Utf8Path) -> Result<(), FetchError> {
    write(url, limit, path)?;
    let found =
        digest::sha256_of_file(path).map_err(|source| FetchError::Write { path: path.to_owned(), source })?;
    if found != sha256 {
        return Err(FetchError::Digest { url: url.to_owned(), expected: sha256.to_owned(), found });
    }
    Ok(())
}

/// What is at a URL now, for what has no digest of its own, such as a signed list of digests.
///
/// # Errors
/// See [`FetchError`].
pub(super) fn read(url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    again(|| whole(open(url)?, url, limit))
}

/// What a server tells a change of a file by (RFC 9110, section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    /// `ETag`
    pub(super) tag: Option<String>,
    /// `Last-Modified`
    pub(super) modified: Option<String>,
}

/// What is at a URL.
#[derive(Debug)]
pub(super) enum Fetched {
    /// what was there before
    Unchanged,
    /// something, and what a later change is told by
    New(Vec<u8>, Validators),
}

/// What is at a URL now, unless it is what was there when it had these validators.
///
/// # Errors
/// See [`FetchError`].
pub(super) fn read_if_changed(
    url: &str,
    limit: u64,
    known: Option<&Validators>,
) -> Result<Fetched, FetchError> {
    if url.starts_with("file:") {
        return Ok(Fetched::New(read(url, limit)?, Validators::default()));
    }
    again(|| {
        let response = request(url, known)?;
        if response.status() == 304 {
            return Ok(Fetched::Unchanged);
        }
        let header =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let validators = Validators { tag: header("etag"), modified: header("last-modified") };
        Ok(Fetched::New(whole(response.into_body().into_reader(), url, limit)?, validators))
    })
}

fn whole(reader: impl Read, url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    let read = reader.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| FetchError::Read { url: url.to_owned(), source })?;
    if bytes.len() as u64 > limit {
        return Err(FetchError::TooLong { url: url.to_owned(), limit });
    }
    Ok(bytes)
}

fn write(url: &str, limit: u64, path: &Utf8Path) -> Result<(), FetchError> {
    let fail = |source| FetchError::Write { path: path.to_owned(), source };
    again(|| {
        let mut file = File::create(path).map_err(fail)?;
        let mut reader = open(url)?.take(limit + 1);
        let mut buffer = vec![0; 1 << 18];
        let mut length = 0;
        loop {
            let read = reader.read(&mut buffer);
            let count = read.map_err(|source| FetchError::Read { url: url.to_owned(), source })?;
            if count == 0 {
                return Ok(());
            }
            length += count as u64;
            if length > limit {
                return Err(FetchError::TooLong { url: url.to_owned(), limit });
            }
            io::Write::write_all(&mut file, &buffer[..count]).map_err(fail)?;
        }
    })
}

/// Tries again what the network broke, and nothing else.
fn again<T>(attempt: impl Fn() -> Result<T, FetchError>) -> Result<T, FetchError> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(FetchError::Http { source, url }) if !matches!(*source, ureq::Error::StatusCode(..500)) => {
                tracing::warn!(%url, error = %source, "a download failed and is tried again");
            }
            Err(FetchError::Read { source, url }) if source.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%url, error = %source, "a download broke off and is begun anew");
            }
            other => return other,
        }
        std::thread::sleep(PAUSE);
    }
    attempt()
}

fn open(url: &str) -> Result<Box<dyn Read>, FetchError> {
    if let Some(path) = url.strip_prefix("file:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        let file = File::open(path).map_err(|source| FetchError::Read { url: url.to_owned(), source })?;
        return Ok(Box::new(file));
    }
    Ok(Box::new(request(url, None)?.into_body().into_reader()))
}

fn request(url: &str, known: Option<&Validators>) -> Result<ureq::http::Response<ureq::Body>, FetchError> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(SILENCE))
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        // The host's own certificates, through the OpenSSL that SSH uses too.
        .tls_config(
            TlsConfig::builder()
                .provider(TlsProvider::NativeTls)
                .root_certs(RootCerts::PlatformVerifier)
                .build(),
        )
        .user_agent(concat!("loadgauge/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut request = agent.get(url);
    if let Some(tag) = known.and_then(|known| known.tag.as_ref()) {
        request = request.header("if-none-match", tag);
    }
    if let Some(modified) = known.and_then(|known| known.modified.as_ref()) {
        request = request.header("if-modified-since", modified);
    }
    request.call().map_err(|source| FetchError::Http { url: url.to_owned(), source: Box::new(source) })
}

/// Whether a text is a SHA-256 in hex.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use sha2::{Digest as _, Sha256};

    use super::*;

    /// A server that answers each request with the next of some responses, and says where it is.
    fn serve(responses: &'static [&'static [u8]]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for response in responses {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
                while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
                stream.write_all(response).expect("written");
            }
        });
        format!("http://{address}/file")
    }

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        (directory, Store::at(path))
    }

    const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

    #[test]
    fn a_file_is_fetched_once_and_kept_under_its_digest() {
        let (_directory, store) = store();
        let url = serve(&[HELLO]);
        let digest = hex::encode(Sha256::digest("hello"));
        let path = fetch(&url, &digest, 5, &store).expect("fetched");
        assert_eq!(fs::read(&path).expect("read"), b"hello");
        // The server is gone by now.
        assert_eq!(fetch(&url, &digest, 5, &store).expect("kept"), path);
    }

    #[test]
    fn another_file_is_refused_and_not_kept() {
        let (directory, store) = store();
        let error = fetch(&serve(&[HELLO]), &"0".repeat(64), 5, &store).expect_err("refused");
        assert!(matches!(error, FetchError::Digest { .. }) && error.hint().is_some(), "{error}");
        let error =
            fetch(&serve(&[HELLO]), &hex::encode(Sha256::digest("hello")), 4, &store).expect_err("refused");
        assert!(matches!(error, FetchError::TooLong { limit: 4, .. }), "{error}");
        let kept = walkdir::WalkDir::new(directory.path()).into_iter().flatten();
        assert_eq!(kept.filter(|entry| entry.file_name() == "file").count(), 0);
    }

    #[test]
    fn what_breaks_is_tried_again_and_what_is_absent_is_not() {
        const BROKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhe";
        const ABSENT: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(read(&serve(&[BROKEN, HELLO]), 10).expect("at the second attempt"), b"hello");
        let error = read(&serve(&[ABSENT, HELLO]), 10).expect_err("absent");
        assert!(error.is_absent(), "{error}");
        assert!(read("file:/nowhere", 10).expect_err("absent").is_absent());
    }
}
