// SPDX-License-Identifier: Apache-2.0
//! Downloads, which are kept in the store under their digests.
use std::io::{self, Read};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Entry, FileError, Hint, Store, StoreError, digest, fs};
use serde::{Deserialize, Serialize};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// The time-out of each phase of a request.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The number of attempts of an interrupted download, and the pause between them.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);
/// The kind of entry in the store.
const KIND: &str = "download";

/// A file that cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// the request failed
    #[error("cannot fetch `{url}`")]
    Http {
        /// the URL
        url: String,
        /// the reason
        source: Box<ureq::Error>,
    },
    /// the download was interrupted, or a local file cannot be read
    #[error("cannot read `{url}`")]
    Read {
        /// the URL
        url: String,
        /// the reason
        source: io::Error,
    },
    /// the file is too large
    #[error("`{url}` is larger than the expected {limit} bytes")]
    TooLong {
        /// the URL
        url: String,
        /// the size limit in bytes
        limit: u64,
    },
    /// the digest differs
    #[error("`{url}` has SHA-256 {found}, expected {expected}")]
    Digest {
        /// the URL
        url: String,
        /// the expected digest in hex
        expected: String,
        /// the digest of the file
        found: String,
    },
    /// the server answers 304 (Not Modified) to a request without a condition
    #[error("the server says that `{url}` has not changed, but it was never fetched")]
    Unasked {
        /// the URL
        url: String,
    },
    /// the store cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
    /// a file of the store cannot be written
    #[error(transparent)]
    File(#[from] FileError),
}

impl FetchError {
    /// Whether the host or its network lacks something; otherwise the URL or the digest is wrong.
    pub(super) fn is_host(&self) -> bool {
        !matches!(self, Self::Digest { .. }) && !self.is_absent()
    }

    /// Whether the file does not exist.
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
            Self::File(error) => error.hint(),
            Self::Http { source, .. } => match source.as_ref() {
                ureq::Error::StatusCode(404) => Some(
                    "correct the URL; where the file was removed from an archive, fetch its lists again"
                        .to_owned(),
                ),
                ureq::Error::StatusCode(_) => None,
                _ => Some("check the network, and http_proxy where there is a proxy".to_owned()),
            },
            Self::Digest { .. } => {
                Some("find out why the file has changed before you change the digest".to_owned())
            }
            _ => None,
        }
    }
}

/// Fetches a file of a known digest from a URL (`http:`, `https:` or `file:`), unless the store has it. Of
/// two concurrent fetches of the same file one waits for the other.
///
/// # Errors
/// See [`FetchError`]. A file of another digest is not kept.
pub(super) fn fetch(url: &str, sha256: &str, limit: u64, store: &Store) -> Result<Utf8PathBuf, FetchError> {
    let name = "file";
    let vacancy = match store.entry(KIND, sha256)? {
        Entry::Ready(directory) => return Ok(directory.join(name)),
        Entry::Vacant(vacancy) => vacancy,
    };
    fetch_to(url, sha256, limit, &vacancy.directory().join(name))?;
    Ok(vacancy.commit()?.join(name))
}

/// Fetches a file of a known digest to a path.
///
/// # Errors
/// See [`FetchError`]. A file of another digest stays at the path.
pub(super) fn fetch_to(url: &str, sha256: &str, limit: u64, path: &Utf8Path) -> Result<(), FetchError> {
    write(url, limit, path)?;
    let found = digest::sha256_of_file(path).map_err(FileError::at("read", path))?;
    if found != sha256 {
        return Err(FetchError::Digest { url: url.to_owned(), expected: sha256.to_owned(), found });
    }
    Ok(())
}

/// Fetches a file without a known digest, such as a signed list of digests.
///
/// # Errors
/// See [`FetchError`].
pub(super) fn read(url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    retry(|| read_all(open(url)?, url, limit))
}

/// The validators with which a server detects a change of a file (RFC 9110, section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    /// `ETag`
    pub(super) tag: Option<String>,
    /// `Last-Modified`
    pub(super) modified: Option<String>,
}

/// The result of a conditional request.
#[derive(Debug)]
pub(super) enum Fetched {
    /// the file has not changed
    Unchanged,
    /// the file, with the validators for the next request
    New(Vec<u8>, Validators),
}

/// Fetches a file, unless it has not changed since it had these validators.
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
    retry(|| {
        let response = request(url, known)?;
        if response.status() == 304 {
            return Ok(Fetched::Unchanged);
        }
        let header =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let validators = Validators { tag: header("etag"), modified: header("last-modified") };
        Ok(Fetched::New(read_all(response.into_body().into_reader(), url, limit)?, validators))
    })
}

fn read_all(reader: impl Read, url: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    let read = reader.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| FetchError::Read { url: url.to_owned(), source })?;
    if bytes.len() as u64 > limit {
        return Err(FetchError::TooLong { url: url.to_owned(), limit });
    }
    Ok(bytes)
}

fn write(url: &str, limit: u64, path: &Utf8Path) -> Result<(), FetchError> {
    retry(|| {
        let mut file = fs::create(path)?;
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
            io::Write::write_all(&mut file, &buffer[..count]).map_err(FileError::at("write", path))?;
        }
    })
}

/// Retries after errors of the network and the server, and after no others.
fn retry<T>(attempt: impl Fn() -> Result<T, FetchError>) -> Result<T, FetchError> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(FetchError::Http { source, url }) if !matches!(*source, ureq::Error::StatusCode(..500)) => {
                tracing::warn!(%url, error = %source, "a download failed and is retried");
            }
            Err(FetchError::Read { source, url }) if source.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%url, error = %source, "a download was interrupted and is retried");
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
        let file =
            fs::open(path).map_err(|error| FetchError::Read { url: url.to_owned(), source: error.source })?;
        return Ok(Box::new(file));
    }
    Ok(Box::new(request(url, None)?.into_body().into_reader()))
}

fn request(url: &str, known: Option<&Validators>) -> Result<ureq::http::Response<ureq::Body>, FetchError> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(TIMEOUT))
        .timeout_connect(Some(TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT))
        // The certificates of the host, through the OpenSSL that SSH uses too.
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

/// Whether a text is a SHA-256 digest in lower-case hex.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use sha2::{Digest as _, Sha256};

    use super::*;

    /// Starts a server that answers each request with the next response, and returns its URL.
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
    fn a_file_of_another_digest_is_refused_and_not_kept() {
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
    fn an_interrupted_download_is_retried_and_an_absent_file_is_not() {
        const BROKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhe";
        const ABSENT: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(read(&serve(&[BROKEN, HELLO]), 10).expect("at the second attempt"), b"hello");
        let error = read(&serve(&[ABSENT, HELLO]), 10).expect_err("absent");
        assert!(error.is_absent(), "{error}");
        assert!(read("file:/nowhere", 10).expect_err("absent").is_absent());
    }
}
