// SPDX-License-Identifier: Apache-2.0
//! The HTTP server for a guest.
use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use loadgauge_host::FileError;
use loadgauge_host::error::on_one_line;
use loadgauge_ignition::delivery::Served;
use tokio::fs::File;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::machine::log_limit::{LogLimit, beginning};

type Body = BoxBody<Bytes, io::Error>;

/// How much of a file is read at a time, in bytes.
const BLOCK: usize = 64 * 1024;
/// How many connections a guest can have at a time, with a relay process each. Further ones are closed at once.
const CONNECTIONS: usize = 32;
/// How many refused requests and connections of a guest are logged as warnings.
const LOGGED: u32 = 10;

/// Serves files to one guest until the token is cancelled, which closes all connections.
pub(crate) async fn serve(listener: UnixListener, files: Vec<Served>, token: CancellationToken) {
    let files = Arc::new(files);
    let connections = TaskTracker::new();
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let warnings = Arc::new(LogLimit::of(LOGGED));
    loop {
        let accepted = tokio::select! {
            () = token.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // For example, no file descriptor is free: the next attempt may succeed.
                tracing::warn!(%error, "cannot accept a connection of the guest");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
            // The relay ends with its connection.
            drop(stream);
            if warnings.allows() {
                tracing::warn!("the guest has {CONNECTIONS} connections; a further one was closed");
            }
            continue;
        };
        let (files, token, warnings) = (Arc::clone(&files), token.clone(), Arc::clone(&warnings));
        connections.spawn(async move {
            let _permit = permit;
            let service = service_fn(|request| answer(request, Arc::clone(&files), Arc::clone(&warnings)));
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = token.cancelled() => {}
                served = connection => if let Err(error) = served {
                    tracing::debug!(%error, "a connection of the guest ended early");
                }
            }
        });
    }
    connections.close();
    connections.wait().await;
}

async fn answer(
    request: Request<Incoming>,
    files: Arc<Vec<Served>>,
    warnings: Arc<LogLimit>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    let response = match (request.method(), files.iter().find(|served| served.url_path == path)) {
        (&Method::GET | &Method::HEAD, Some(served)) => {
            file(served, request.method() == Method::HEAD).await.unwrap_or_else(|error| {
                tracing::error!(error = %on_one_line(&error), "cannot serve a file to the guest");
                message(StatusCode::INTERNAL_SERVER_ERROR, "the harness cannot read the file\n")
            })
        }
        (&Method::GET | &Method::HEAD, None) => {
            message(StatusCode::NOT_FOUND, "the harness serves no such file to this machine\n")
        }
        _ => {
            let mut response = message(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
    };
    let (method, status) = (request.method().as_str(), response.status().as_u16());
    let path = beginning(path);
    if response.status().is_success() {
        tracing::debug!(method, path, status, "served to the guest");
    } else if warnings.allows() {
        tracing::warn!(method, path, status, "refused a request of the guest");
    }
    Ok(response)
}

async fn file(served: &Served, head: bool) -> Result<Response<Body>, FileError> {
    let file = File::open(&served.file).await.map_err(FileError::at("open", &served.file))?;
    let metadata = file.metadata().await.map_err(FileError::at("examine", &served.file))?;
    let body = if head {
        empty()
    } else {
        let blocks = ReaderStream::with_capacity(file, BLOCK);
        BodyExt::boxed(StreamBody::new(blocks.map_ok(Frame::data)))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_LENGTH, metadata.len().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

fn message(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}

fn empty() -> Body {
    full("")
}

fn full(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed()
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    struct Server {
        _directory: tempfile::TempDir,
        socket: Utf8PathBuf,
        token: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    fn server(contents: &[u8]) -> Server {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        std::fs::write(root.join("file"), contents).expect("written");
        let socket = root.join("http");
        let served = |name: &str| Served {
            url_path: format!("/{name}"),
            file: root.join(name),
            sha512: String::new(),
        };
        let token = CancellationToken::new();
        let listener = UnixListener::bind(&socket).expect("bound");
        let task = tokio::spawn(serve(listener, vec![served("file"), served("gone")], token.clone()));
        Server { _directory: directory, socket, token, task }
    }

    async fn ask(server: &Server, request: &str) -> String {
        let mut stream = UnixStream::connect(&server.socket).await.expect("connected");
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        // A connection that is closed at once has no answer.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_file_is_served_completely_with_its_length() {
        let contents = "x".repeat(3 * BLOCK + 1);
        let server = server(contents.as_bytes());
        let answer = ask(&server, "GET /file").await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(
            head.starts_with("HTTP/1.1 200") && head.contains(&format!("content-length: {}", contents.len()))
        );
        assert_eq!(body, contents);
        let answer = ask(&server, "HEAD /file").await;
        assert!(
            answer.contains(&format!("content-length: {}", contents.len())) && answer.ends_with("\r\n\r\n")
        );
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let server = server(b"secret");
        for (request, status) in
            [("GET /other", "404"), ("GET /../file", "404"), ("GET /gone", "500"), ("POST /file", "405")]
        {
            assert!(ask(&server, request).await.starts_with(&format!("HTTP/1.1 {status}")), "{request}");
        }
    }

    #[tokio::test]
    async fn a_guest_has_a_limited_number_of_connections() {
        let server = server(b"x");
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            open.push(UnixStream::connect(&server.socket).await.expect("connected"));
        }
        let mut further = UnixStream::connect(&server.socket).await.expect("connected");
        let limit = std::time::Duration::from_secs(10);
        let mut buffer = [0];
        let read = tokio::time::timeout(limit, further.read(&mut buffer)).await;
        assert_eq!(read.expect("it is closed at once").expect("read"), 0);
        drop(open.pop());
        let again = async {
            while !ask(&server, "GET /file").await.starts_with("HTTP/1.1 200") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(limit, again).await.expect("one is free again");
    }

    #[tokio::test]
    async fn it_ends_when_cancelled_even_with_an_open_connection() {
        let server = server(b"");
        let _open = UnixStream::connect(&server.socket).await.expect("connected");
        server.token.cancel();
        server.task.await.expect("ended");
    }
}
