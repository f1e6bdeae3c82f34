// SPDX-License-Identifier: Apache-2.0
//! An HTTP server for a binhost: serves a directory with validators, and logs the requests.
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest as _, Sha256};

/// Serves until the process ends or the server is silenced.
pub(crate) struct Server {
    pub(crate) url: String,
    log: Arc<Mutex<Vec<String>>>,
    silent: Arc<Mutex<bool>>,
}

impl Server {
    pub(crate) fn of(directory: &Utf8Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let (log, silent) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<bool>>::default());
        let (directory, seen, hush) = (directory.to_owned(), Arc::clone(&log), Arc::clone(&silent));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a client");
                if !*hush.lock().expect("whole") {
                    seen.lock().expect("whole").push(answer(stream, &directory));
                }
            }
        });
        Self { url, log, silent }
    }

    /// The requests since the last call, as `200 path`.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().expect("whole"))
    }

    /// Makes the server close all further connections without an answer.
    pub(crate) fn silence(&self) {
        *self.silent.lock().expect("whole") = true;
    }
}

fn answer(mut stream: TcpStream, directory: &Utf8PathBuf) -> String {
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
    let first = lines.next().expect("a request").expect("read");
    let path = first.split(' ').nth(1).expect("a path").trim_start_matches('/').to_owned();
    let mut tag = None;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("if-none-match")
        {
            tag = Some(value.to_owned());
        }
    }
    let (status, head, body) = match fs::read(directory.join(&path)) {
        Err(_) => ("404", String::new(), Vec::new()),
        Ok(bytes) => {
            let own = format!("\"{}\"", hex::encode(Sha256::digest(&bytes)));
            let head = format!("ETag: {own}\r\n");
            if tag.as_ref() == Some(&own) { ("304", head, Vec::new()) } else { ("200", head, bytes) }
        }
    };
    let length = if status == "304" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    write!(stream, "HTTP/1.1 {status} X\r\n{head}{length}Connection: close\r\n\r\n").expect("written");
    stream.write_all(&body).expect("written");
    format!("{status} {path}")
}
