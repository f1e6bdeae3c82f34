// SPDX-License-Identifier: Apache-2.0
//! The other end of the guest's connections to the harness.
//!
//! QEMU starts a program for each connection that the guest opens to 10.0.2.100:80, and ties the
//! connection to its standard input, output and error (`guestfwd=...-cmd:`). The program is the harness
//! itself, as `loadgauge relay SOCKET`, and what it runs is here. It keeps to blocking calls and writes
//! no message: whatever is printed goes to the guest.
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use camino::Utf8Path;

/// Ties standard input and output to a unix socket until the socket's other end is closed.
///
/// # Errors
/// Nobody listens on the socket, or a stream breaks; the guest sees its connection end.
pub fn relay(socket: &Utf8Path) -> io::Result<()> {
    let stream = UnixStream::connect(socket)?;
    tie(io::stdin(), &mut io::stdout(), &stream)
}

/// Copies in both directions. What comes in may never end, or only once QEMU closes it: the thread that
/// waits for it is left to end with the process.
fn tie(
    mut input: impl Read + Send + 'static,
    output: &mut impl Write,
    stream: &UnixStream,
) -> io::Result<()> {
    let mut up = stream.try_clone()?;
    thread::Builder::new().name("up".into()).spawn(move || {
        // The error of a stream that the server closed: the other direction ends as well.
        let _ = copy(&mut input, &mut up);
        let _ = up.shutdown(Shutdown::Write);
    })?;
    copy(&mut &*stream, output)
}

/// Copies and flushes after each piece: an answer must not wait for the next one to fill a buffer.
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
    fn what_goes_in_comes_out_at_the_other_end_and_back() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let server = thread::spawn(move || {
            let mut request = Vec::new();
            (&theirs).read_to_end(&mut request).expect("read");
            (&theirs).write_all(&[b"echo ".as_slice(), &request].concat()).expect("written");
        });
        let mut output = Vec::new();
        tie(b"hello".as_slice(), &mut output, &ours).expect("tied");
        server.join().expect("joined");
        assert_eq!(output, b"echo hello");
    }
}
