// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Command, GuestError, Output, words};

/// How much of each stream a transcript keeps, in bytes. Transcripts travel in events and stand in
/// reports; whoever needs more has the command's own output.
const KEPT: usize = 64 * 1024;

/// A command that was run on the guest, and its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// the command line
    pub command: String,
    /// `status 0`, `signal KILL`, or the error of the connection
    pub exit: String,
    /// standard output, as text
    pub stdout: String,
    /// standard error, as text
    pub stderr: String,
    /// milliseconds
    pub duration_ms: u64,
}

impl Transcript {
    /// The record of a command and what came of it; of one that did not end, what it had printed
    /// up to then. Of a long stream the beginning and the end are kept, with a line between them
    /// that says how much was left out.
    pub fn of(command: &Command, result: &Result<Output, GuestError>, duration: Duration) -> Self {
        let (exit, stdout, stderr) = match result {
            Ok(output) => (output.exit.to_string(), &output.stdout[..], &output.stderr[..]),
            Err(error) => {
                let partial = error.partial();
                let streams =
                    partial.map_or((&[][..], &[][..]), |partial| (&partial.stdout[..], &partial.stderr[..]));
                (words(error), streams.0, streams.1)
            }
        };
        Self {
            command: command.line.clone(),
            exit,
            stdout: shorten(stdout),
            stderr: shorten(stderr),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A stream as text, without its middle where it is long.
fn shorten(bytes: &[u8]) -> String {
    if bytes.len() <= KEPT {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let (head, tail) = (&bytes[..KEPT / 2], &bytes[bytes.len() - KEPT / 2..]);
    format!(
        "{}\n[{} bytes left out]\n{}",
        String::from_utf8_lossy(head),
        bytes.len() - KEPT,
        String::from_utf8_lossy(tail)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Exit;

    #[test]
    fn a_long_stream_loses_its_middle_and_says_so() {
        let mut stdout = vec![b'a'; KEPT];
        stdout.extend(vec![b'z'; KEPT]);
        let output = Output {
            exit: Exit::Signal("KILL".into()),
            stdout,
            stderr: b"short\n".to_vec(),
            duration: Duration::ZERO,
        };
        let transcript = Transcript::of(&Command::new("x"), &Ok(output), Duration::from_millis(5));
        assert_eq!((transcript.exit.as_str(), transcript.duration_ms), ("signal KILL", 5));
        assert_eq!(transcript.stderr, "short\n");
        assert!(transcript.stdout.starts_with('a') && transcript.stdout.ends_with('z'));
        assert!(transcript.stdout.contains("\n[65536 bytes left out]\n"), "the gap is marked");
    }
}
