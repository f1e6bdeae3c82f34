// SPDX-License-Identifier: Apache-2.0
//! Standard error as a log that may contain text of a guest.
//!
//! The runner of GitHub Actions reads both streams of a step and executes the commands that it finds: `::` at
//! the beginning of a line, after spaces, and `##[` anywhere in it
//! (`ActionCommand.cs` in github.com/actions/runner). A guest that prints such a line must not command it.
use std::borrow::Cow;
use std::io::{self, Write};

use loadgauge_host::environment;

/// The beginnings of commands, and what replaces them.
const AT_BEGINNING: [&str; 2] = ["::", ":\\:"];
const ANYWHERE: [&str; 2] = ["##[", "#\\#["];

/// A stream whose text commands nobody.
#[derive(Debug)]
pub(crate) struct LogStream<W> {
    inner: W,
    /// whether a runner looks for commands in it
    is_read: bool,
}

impl<W: Write> LogStream<W> {
    /// A stream of this process.
    pub(crate) fn of(inner: W) -> Self {
        Self { inner, is_read: in_github_actions() }
    }

    /// A stream that a runner reads.
    #[cfg(test)]
    pub(super) fn read_by_a_runner(inner: W) -> Self {
        Self { inner, is_read: true }
    }
}

/// Writes lines to standard error. What cannot be written there cannot be reported anywhere: the exit status
/// says how the command ended.
pub(crate) fn log(text: &str) {
    let mut stream = LogStream::of(anstream::stderr());
    let _ = stream.write_all(format!("{text}\n").as_bytes()).and_then(|()| stream.flush());
}

/// Whether this process runs in a step of GitHub Actions.
pub(super) fn in_github_actions() -> bool {
    environment::value(environment::GITHUB_ACTIONS).is_some_and(|value| value == "true")
}

/// Makes GitHub's runner ignore commands for the rest of the step, for output of a guest that is passed on
/// byte by byte. They are not resumed: the runner reads the two streams independently, and could resume before it
/// has read the last output.
pub(crate) fn stop_github_commands() {
    if in_github_actions() {
        let token = uuid::Uuid::new_v4().simple().to_string();
        // Written as it is: this is a command.
        let _ = io::stderr().write_all(format!("::stop-commands::{token}\n").as_bytes());
    }
}

impl<W: Write> Write for LogStream<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_read {
            return self.inner.write(bytes);
        }
        // Every write begins a line, as the log messages and the lines of a report do.
        self.inner.write_all(harmless(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The same text without commands.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let is_command = |line: &str| line.trim_start().starts_with(AT_BEGINNING[0]);
    // The runner also ends lines at carriage returns.
    if !text.contains(ANYWHERE[0]) && !text.split(['\n', '\r']).any(is_command) {
        return Cow::Borrowed(text);
    }
    let lines = text.split_inclusive(['\n', '\r']).map(|line| {
        if is_command(line) { line.replacen(AT_BEGINNING[0], AT_BEGINNING[1], 1) } else { line.to_owned() }
    });
    Cow::Owned(lines.collect::<String>().replace(ANYWHERE[0], ANYWHERE[1]))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether the runner finds a command, after `ActionCommand.TryParseV2` and `TryParse`.
    pub(crate) fn commands_somebody(text: &str) -> bool {
        text.split(['\n', '\r']).any(|line| line.trim().starts_with("::") || line.contains("##["))
    }

    #[test]
    fn commands_are_broken_and_other_text_stays() {
        assert_eq!(harmless("oops\n  ::stop-commands::x9\r::a\n"), "oops\n  :\\:stop-commands::x9\r:\\:a\n");
        assert_eq!(harmless("a ###[add-mask]failed"), "a ##\\#[add-mask]failed");
        assert!(matches!(harmless("std::io\n# #[x]\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_stream_is_changed_only_if_a_runner_reads_it() {
        let written = |is_read| {
            let mut stream = LogStream { inner: Vec::new(), is_read };
            stream.write_all(b"::error::\xff\n").expect("written");
            String::from_utf8_lossy(&stream.inner).into_owned()
        };
        assert_eq!([written(true), written(false)], [":\\:error::\u{fffd}\n", "::error::\u{fffd}\n"]);
    }

    proptest! {
        #[test]
        fn no_text_commands_anybody(text in "[:#\\[ \\n\\r\\ta-c]{0,40}") {
            prop_assert!(!commands_somebody(&harmless(&text)), "{:?}", harmless(&text));
        }
    }
}
