// SPDX-License-Identifier: Apache-2.0
//! Relays the guest's connections to the harness.
//!
//! QEMU starts a program for each connection that the guest opens to 10.0.2.100:80, and connects it to the
//! program's standard input, output and error (`guestfwd=...-cmd:`). The program is the harness itself, as
//! `loadgauge relay SOCKET`. It prints no messages, since its output goes to the guest.
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use camino::Utf8Path;

/// Copies between standard input and output and a Unix socket until the socket's other end is closed.
///
/// # Errors
/// The socket or a stream fails; the guest sees its connection end.
pub fn relay(socket: &Utf8Path) -> io::Result<()> {
    let stream = UnixStream::connect(socket)?;
    copy_both(io::stdin(), &mut io::stdout(), &stream)
}

/// Copies in both directions. The thread that reads the input ends with the process, because the input may
/// stay open until QEMU closes it.
fn copy_both(
    mut input: impl Read + Send + 'static,
    output: &mut impl Write,
    stream: &UnixStream,
) -> io::Result<()> {
    let mut up = stream.try_clone()?;
    thread::Builder::new().name("up".into()).spawn(move || {
        // If the server closed the stream, the other direction ends as well.
        let _ = copy(&mut input, &mut up);
        let _ = up.shutdown(Shutdown::Write);
    })?;
    copy(&mut &*stream, output)
}

/// Copies, and flushes after each read: an answer must not wait in a buffer.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_copied() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let server = thread::spawn(move || {
            let mut request = Vec::new();
            (&theirs).read_to_end(&mut request).expect("read");
            (&theirs).write_all(&[b"echo ".as_slice(), &request].concat()).expect("written");
        });
        let mut output = Vec::new();
        copy_both(b"hello".as_slice(), &mut output, &ours).expect("copied");
        server.join().expect("joined");
        assert_eq!(output, b"echo hello");
    }
}
