// SPDX-License-Identifier: Apache-2.0
//! Splits untrusted streams of bytes into lines of text.
use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The length at which a line is cut, in bytes: a guest that writes no newlines must not fill the memory.
const LONGEST: usize = 4096;

/// Reads the next line of a stream, without its newline, or nothing at the end of the stream. Invalid UTF-8
/// is replaced, and a line is cut after `longest` bytes.
///
/// (The codec of `tokio-util` ends its stream at the first line that is too long or not UTF-8.)
pub(crate) async fn next_line(
    stream: &mut (impl AsyncBufRead + Unpin),
    longest: usize,
) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut any = false;
    loop {
        let piece = stream.fill_buf().await?;
        if piece.is_empty() {
            break;
        }
        any = true;
        let end = piece.iter().position(|&byte| byte == b'\n');
        let text = &piece[..end.unwrap_or(piece.len())];
        line.extend_from_slice(&text[..text.len().min(longest - line.len())]);
        let used = end.map_or(piece.len(), |end| end + 1);
        stream.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok(any.then(|| String::from_utf8_lossy(&line).into_owned()))
}

/// Splits a terminal's output into lines of plain text.
///
/// Escape sequences (ECMA-48) and control characters are removed. A carriage return ends a line like a line
/// feed, so that overwritten text is not lost.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    current: Vec<u8>,
    state: State,
    returned: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// after ESC
    Escape,
    /// after ESC and an intermediate byte: one more byte follows, or further intermediate ones
    Charset,
    /// after ESC `[`, up to a final byte
    Control,
    /// after ESC `]`, `P`, `X`, `^` or `_`, up to BEL or ESC `\`
    String,
    /// an ESC within a string
    StringEscape,
}

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

impl Lines {
    /// Adds bytes and returns the lines that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            self.take(byte, &mut lines);
        }
        lines
    }

    /// The incomplete last line, usually a prompt.
    pub(crate) fn partial(&self) -> String {
        String::from_utf8_lossy(&self.current).into_owned()
    }

    fn take(&mut self, byte: u8, lines: &mut Vec<String>) {
        self.state = match (self.state, byte) {
            // A newline ends an escape sequence: one that a dying guest left incomplete must not hide the
            // rest of the console.
            (_, b'\n' | b'\r') => {
                self.end(byte, lines);
                State::Text
            }
            (State::Text, ESCAPE) => State::Escape,
            (State::Text, _) => {
                self.text(byte, lines);
                State::Text
            }
            (State::Escape, b'[') => State::Control,
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
            (State::Escape | State::Charset, 0x20..=0x2f) => State::Charset,
            (State::Escape, ESCAPE) => State::Escape,
            (State::Escape | State::Charset, _) | (State::Control, 0x40..=0x7e) | (State::String, BELL) => {
                State::Text
            }
            (State::Control | State::StringEscape, ESCAPE) => State::Escape,
            (State::Control, _) => State::Control,
            (State::StringEscape, b'\\') => State::Text,
            (State::String, ESCAPE) => State::StringEscape,
            (State::String | State::StringEscape, _) => State::String,
        };
    }

    fn text(&mut self, byte: u8, lines: &mut Vec<String>) {
        if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
            self.returned = false;
            self.current.push(byte);
            if self.current.len() >= LONGEST {
                self.flush(lines);
            }
        }
    }

    fn end(&mut self, byte: u8, lines: &mut Vec<String>) {
        // CR LF is one line end, and so is CR CR LF, which a terminal makes of it.
        let second = self.returned && self.current.is_empty();
        if !second && (byte == b'\n' || !self.current.is_empty()) {
            self.flush(lines);
        }
        self.returned = byte == b'\r';
    }

    fn flush(&mut self, lines: &mut Vec<String>) {
        lines.push(String::from_utf8_lossy(&self.current).into_owned());
        self.current.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(bytes: &[u8]) -> (Vec<String>, String) {
        let mut lines = Lines::default();
        let complete = lines.push(bytes);
        (complete, lines.partial())
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_or_not_utf8_does_not_hide_the_next() {
        let bytes = [b"abc\xff\n".as_slice(), &[b'x'; 9000], b"\n\nlast"].concat();
        // Small pieces, as from a socket.
        let mut stream = tokio::io::BufReader::with_capacity(100, bytes.as_slice());
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut stream, 1000).await.expect("read") {
            lines.push(line);
        }
        assert_eq!(lines, ["abc\u{fffd}", &"x".repeat(1000), "", "last"]);
    }

    #[test]
    fn output_of_systemd_becomes_plain_text() {
        let bytes = b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m.\r\n\x1b[2J\x1b(B\x1b]0;title\x07# ";
        assert_eq!(lines(bytes), (vec!["[  OK  ] Started ssh.service.".to_owned()], "# ".to_owned()));
    }

    #[test]
    fn a_carriage_return_and_a_line_feed_end_one_line() {
        let (complete, partial) = lines(b"one\r\r\ntwo\r\n\nfour\rfive");
        assert_eq!(complete, ["one", "two", "", "four"]);
        assert_eq!(partial, "five");
    }

    #[test]
    fn an_incomplete_sequence_hides_no_later_line() {
        assert_eq!(lines(b"\x1b]0;never ended\nKernel panic\n").0, ["", "Kernel panic"]);
    }

    proptest! {
        #[test]
        fn any_division_of_any_bytes_gives_the_same_plain_lines(
            bytes in proptest::collection::vec(any::<u8>(), 0..6000),
            cut in 0_usize..6000,
        ) {
            let cut = cut.min(bytes.len());
            let (whole, rest) = lines(&bytes);
            let mut pieces = Lines::default();
            let mut complete = pieces.push(&bytes[..cut]);
            complete.extend(pieces.push(&bytes[cut..]));
            prop_assert_eq!(&complete, &whole);
            prop_assert_eq!(pieces.partial(), rest);
            for line in &whole {
                let control = line.chars().any(|character| character != '\t' && character.is_ascii_control());
                prop_assert!(!control, "{:?}", line);
            }
        }
    }
}
