// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::{Command, Output};
use super::error::GuestError;
use loadgauge_host::error::on_one_line;

/// The longest stream that a transcript keeps whole, in bytes: transcripts are part of events and reports.
const LIMIT: usize = 64 * 1024;

/// The record of a command that ran on the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// how many lines of standard output this record lacks
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stdout_left_out: usize,
    /// how many lines of standard error this record lacks
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stderr_left_out: usize,
    /// whether the command printed more than is accepted of a guest
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
    /// both streams, if this record lacks lines; until they are written to a file
    #[serde(skip)]
    pub whole: Option<Arc<WholeOutput>>,
}

/// The whole output of a command, as far as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeOutput {
    /// standard output
    pub stdout: Vec<u8>,
    /// standard error
    pub stderr: Vec<u8>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
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
        let (short_stdout, stdout_left_out) = shorten(stdout);
        let (short_stderr, stderr_left_out) = shorten(stderr);
        let is_short = stdout_left_out + stderr_left_out == 0;
        let whole = || Arc::new(WholeOutput { stdout: stdout.to_vec(), stderr: stderr.to_vec() });
        Self {
            command: command.line.clone(),
            exit,
            stdout: short_stdout,
            stderr: short_stderr,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            stdout_left_out,
            stderr_left_out,
            is_cut: matches!(result, Err(GuestError::TooMuch { .. })),
            whole: (!is_short).then(whole),
        }
    }
}

impl Transcript {
    /// A command that was part of this one, with its own standard output.
    #[must_use]
    pub fn part(&self, command: &str, stdout: &str) -> Self {
        let (short, stdout_left_out) = shorten(stdout.as_bytes());
        let whole = || Arc::new(WholeOutput { stdout: stdout.into(), stderr: Vec::new() });
        Self {
            command: command.to_owned(),
            exit: self.exit.clone(),
            stdout: short,
            duration_ms: self.duration_ms,
            stdout_left_out,
            whole: (stdout_left_out > 0).then(whole),
            ..Self::default()
        }
    }
}

/// A stream as text, without the middle of a long one, and how many lines that is.
fn shorten(bytes: &[u8]) -> (String, usize) {
    if bytes.len() <= LIMIT {
        return (String::from_utf8_lossy(bytes).into_owned(), 0);
    }
    let half = LIMIT / 2;
    let is_newline = |byte: &u8| *byte == b'\n';
    // Whole lines, where there are any.
    let head = bytes[..half].iter().rposition(is_newline).map_or(half, |end| end + 1);
    let begin = bytes.len() - half;
    let tail = bytes[begin..bytes.len() - 1].iter().position(is_newline).map_or(begin, |end| begin + end + 1);
    let middle = &bytes[head..tail];
    let lines = middle.iter().filter(|byte| is_newline(byte)).count().max(1);
    let newline = if bytes[..head].ends_with(b"\n") { "" } else { "\n" };
    let text = format!(
        "{}{newline}[{} bytes left out]\n{}",
        String::from_utf8_lossy(&bytes[..head]),
        middle.len(),
        String::from_utf8_lossy(&bytes[tail..])
    );
    (text, lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::command::Exit;
    use crate::guest::error::Partial;

    fn transcript(stdout: Vec<u8>) -> Transcript {
        let exit = Exit::Signal("KILL".into());
        let output = Output { exit, stdout, stderr: b"short\n".to_vec(), duration: Duration::ZERO };
        Transcript::of(&Command::new("x"), &Ok(output), Duration::from_millis(5))
    }

    #[test]
    fn a_long_stream_loses_its_middle() {
        let mut stdout = vec![b'a'; LIMIT];
        stdout.extend(vec![b'z'; LIMIT]);
        let transcript = transcript(stdout.clone());
        assert_eq!((transcript.exit.as_str(), transcript.duration_ms), ("signal KILL", 5));
        assert_eq!(transcript.stderr, "short\n");
        assert!(transcript.stdout.starts_with('a') && transcript.stdout.ends_with('z'));
        assert!(transcript.stdout.contains("\n[65536 bytes left out]\n"), "the gap is marked");
        assert_eq!(transcript.whole.expect("kept").stdout, stdout);
    }

    #[test]
    fn the_lines_that_are_left_out_are_counted() {
        let lines: Vec<String> = (1..=20_000).map(|number| format!("{number}\n")).collect();
        let long = transcript(lines.concat().into_bytes());
        let kept: Vec<&str> = long.stdout.lines().filter(|line| !line.starts_with('[')).collect();
        assert_eq!(kept.len() + long.stdout_left_out, 20_000);
        assert!(kept.iter().all(|line| lines.contains(&format!("{line}\n"))), "whole lines");
        let short = transcript(b"1\n".to_vec());
        assert_eq!((short.stdout_left_out, short.whole, short.is_cut), (0, None, false));
    }

    #[test]
    fn a_command_that_prints_too_much_is_marked() {
        let partial = Partial { stdout: vec![b'\n'; LIMIT + 10], stderr: Vec::new() };
        let error = GuestError::TooMuch { command: "yes".to_owned(), limit: 9, partial };
        let transcript = Transcript::of(&Command::new("yes"), &Err(error), Duration::ZERO);
        assert!(transcript.is_cut && transcript.whole.is_some());
    }
}
