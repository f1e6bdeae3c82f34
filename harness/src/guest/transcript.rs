// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::{Command, Output};
use super::error::GuestError;
use loadgauge_host::error::on_one_line;

/// The longest stream that a transcript keeps whole, in bytes: transcripts are part of events and reports.
const LIMIT: usize = 64 * 1024;

/// The record of a command that ran on the guest.
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
    /// the run time in milliseconds
    pub duration_ms: u64,
}

impl Transcript {
    /// Records a command and its result, or the output so far of a command that did not end. The middle of a
    /// long stream is replaced by a line with the number of bytes left out.
    pub fn of(command: &Command, result: &Result<Output, GuestError>, duration: Duration) -> Self {
        let (exit, stdout, stderr) = match result {
            Ok(output) => (output.exit.to_string(), &output.stdout[..], &output.stderr[..]),
            Err(error) => {
                let partial = error.partial();
                let streams =
                    partial.map_or((&[][..], &[][..]), |partial| (&partial.stdout[..], &partial.stderr[..]));
                (on_one_line(error), streams.0, streams.1)
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

/// A stream as text, without the middle of a long one.
fn shorten(bytes: &[u8]) -> String {
    if bytes.len() <= LIMIT {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let (head, tail) = (&bytes[..LIMIT / 2], &bytes[bytes.len() - LIMIT / 2..]);
    format!(
        "{}\n[{} bytes left out]\n{}",
        String::from_utf8_lossy(head),
        bytes.len() - LIMIT,
        String::from_utf8_lossy(tail)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::command::Exit;

    #[test]
    fn a_long_stream_loses_its_middle() {
        let mut stdout = vec![b'a'; LIMIT];
        stdout.extend(vec![b'z'; LIMIT]);
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
