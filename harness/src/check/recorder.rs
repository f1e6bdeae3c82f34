// SPDX-License-Identifier: Apache-2.0
use std::time::Instant;

use loadgauge_host::Hint as _;
use loadgauge_host::error::on_one_line;

use super::{Assertions, Finding, Outcome};
use crate::guest::{Command, Guest, GuestError, Output, Transcript};

/// Runs the commands of a check in a guest and records them.
pub(super) struct Recorder<'a> {
    guest: &'a Guest,
    commands: Vec<Transcript>,
}

/// Why a check ends before its last command.
#[derive(Debug)]
pub(super) enum CheckError {
    /// the guest could not run a command
    Guest(Box<GuestError>),
    /// the check failed already
    Failed(Assertions),
    /// the output has an unknown format
    Unreadable(String),
    /// a file of the host cannot be used
    Host(String),
}

impl From<GuestError> for CheckError {
    fn from(error: GuestError) -> Self {
        Self::Guest(Box::new(error))
    }
}

impl<'a> Recorder<'a> {
    pub(super) fn new(guest: &'a Guest) -> Self {
        Self { guest, commands: Vec::new() }
    }

    /// The commands so far.
    pub(super) fn transcripts(&self) -> Vec<Transcript> {
        self.commands.clone()
    }

    /// Runs a command and records it.
    pub(super) async fn run(&mut self, command: Command) -> Result<Output, GuestError> {
        let started = Instant::now();
        let result = self.guest.run(command.clone()).await;
        self.commands.push(Transcript::of(&command, &result, started.elapsed()));
        result
    }

    /// Runs a command that must succeed.
    pub(super) async fn require(&mut self, command: Command) -> Result<Output, CheckError> {
        let claim = format!("`{}` succeeds", command.line);
        let output = self.run(command).await?;
        if output.exit.success() {
            return Ok(output);
        }
        Err(CheckError::Failed(Assertions::failed(claim, describe_failure(&output))))
    }

    /// The finding of the check, with all commands.
    pub(super) fn into_finding(self, claim: &str, result: Result<Assertions, CheckError>) -> Finding {
        finding(claim, result, self.commands)
    }
}

/// The finding of a result, with the commands that led to it.
pub(super) fn finding(
    claim: &str,
    result: Result<Assertions, CheckError>,
    commands: Vec<Transcript>,
) -> Finding {
    match result {
        Ok(assertions) | Err(CheckError::Failed(assertions)) => assertions.into_finding(commands),
        Err(CheckError::Guest(error)) => {
            let phase = error.phase().map(|phase| format!(" (phase {phase})")).unwrap_or_default();
            // The guest decides how much it prints; other errors of the connection may be the host's.
            let is_guests = matches!(*error, GuestError::TooMuch { .. });
            Finding {
                outcome: if is_guests { Outcome::Failed } else { Outcome::Broken },
                expected: claim.to_owned(),
                found: format!("{}{phase}", on_one_line(&*error)),
                hint: error.hint(),
                commands,
            }
        }
        Err(CheckError::Host(found)) => {
            Finding { outcome: Outcome::Broken, expected: claim.to_owned(), found, hint: None, commands }
        }
        Err(CheckError::Unreadable(cause)) => Finding {
            outcome: Outcome::Broken,
            expected: claim.to_owned(),
            found: format!("cannot read the output: {cause}"),
            hint: None,
            commands,
        },
    }
}

/// The exit status of a command with the end of standard error, or of standard output if that is empty.
pub(super) fn describe_failure(output: &Output) -> String {
    let (out, err) = (output.text(), output.error_text());
    let text = if err.trim().is_empty() { out } else { err };
    match text.trim() {
        "" => format!("{}, without output", output.exit),
        text => format!("{}: {}", output.exit, tail(text, 5)),
    }
}

/// The last lines of a text.
pub(super) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Names in backticks, separated by commas, or `none`.
pub(super) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::guest::Exit;

    #[test]
    fn more_output_than_is_accepted_is_the_guests_fault() {
        let partial = crate::guest::Partial::default();
        let error = GuestError::TooMuch { command: "yes".to_owned(), limit: 64 << 20, partial };
        let found = finding("`yes` ends", Err(error.into()), Vec::new());
        assert_eq!(found.outcome, Outcome::Failed);
        assert!(found.found.starts_with("output of `yes` exceeds 67108864 bytes"), "{}", found.found);
        assert!(found.hint.is_some());
    }

    #[test]
    fn a_failure_is_described_by_the_end_of_standard_error() {
        let mut output = Output {
            exit: Exit::Status(1),
            stdout: b"out\n".to_vec(),
            stderr: b"1\n2\n3\n4\n5\n6\n".to_vec(),
            duration: Duration::ZERO,
        };
        assert_eq!(describe_failure(&output), "status 1: 2\n3\n4\n5\n6");
        output.stderr.clear();
        assert_eq!(describe_failure(&output), "status 1: out");
        output.stdout.clear();
        assert_eq!(describe_failure(&output), "status 1, without output");
    }
}
