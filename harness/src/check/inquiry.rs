// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use loadgauge_host::error::on_one_line;
use std::time::Instant;

use crate::guest::{Command, Guest, GuestError, Output, Transcript};

use super::{Finding, Judgement, Outcome};

/// The questions that one check asks the guest, and the record of them.
pub(super) struct Inquiry<'a> {
    guest: &'a Guest,
    commands: Vec<Transcript>,
}

/// Why a check ends before its last question.
#[derive(Debug)]
pub(super) enum Halt {
    /// the guest could not be asked
    Guest(Box<GuestError>),
    /// the answer decides already
    Judged(Judgement),
    /// the answer cannot be read: an error of the harness, or a program it does not know
    Unreadable(String),
}

impl From<GuestError> for Halt {
    fn from(error: GuestError) -> Self {
        Self::Guest(Box::new(error))
    }
}

impl<'a> Inquiry<'a> {
    pub(super) fn new(guest: &'a Guest) -> Self {
        Self { guest, commands: Vec::new() }
    }

    /// The record so far.
    pub(super) fn transcripts(&self) -> Vec<Transcript> {
        self.commands.clone()
    }

    /// Runs a command and keeps its record.
    pub(super) async fn ask(&mut self, command: Command) -> Result<Output, GuestError> {
        let started = Instant::now();
        let result = self.guest.run(command.clone()).await;
        self.commands.push(Transcript::of(&command, &result, started.elapsed()));
        result
    }

    /// Runs a command that has to succeed for the check to go on.
    pub(super) async fn demand(&mut self, command: Command) -> Result<Output, Halt> {
        let claim = format!("`{}` succeeds", command.line);
        let output = self.ask(command).await?;
        if output.exit.success() {
            return Ok(output);
        }
        Err(Halt::Judged(Judgement::failure(claim, complaint(&output))))
    }

    /// Ends the inquiry with what came of it.
    pub(super) fn conclude(self, claim: &str, result: Result<Judgement, Halt>) -> Finding {
        conclude(claim, result, self.commands)
    }
}

/// What came of asking, with the record of it.
pub(super) fn conclude(claim: &str, result: Result<Judgement, Halt>, commands: Vec<Transcript>) -> Finding {
    match result {
        Ok(judgement) | Err(Halt::Judged(judgement)) => judgement.finding(commands),
        Err(Halt::Guest(error)) => {
            let phase = error.phase().map(|phase| format!(" (phase {phase})")).unwrap_or_default();
            Finding {
                outcome: Outcome::Broken,
                expected: claim.to_owned(),
                found: format!("{}{phase}", on_one_line(&*error)),
                hint: error.hint(),
                commands,
            }
        }
        Err(Halt::Unreadable(cause)) => Finding {
            outcome: Outcome::Broken,
            expected: claim.to_owned(),
            found: format!("the guest's answer cannot be read: {cause}"),
            hint: None,
            commands,
        },
    }
}

/// How a command ended and the end of what it said, in one or a few lines.
pub(super) fn complaint(output: &Output) -> String {
    let (out, err) = (output.text(), output.error_text());
    let said = if err.trim().is_empty() { out } else { err };
    match said.trim() {
        "" => format!("{}, without a word", output.exit),
        said => format!("{}: {}", output.exit, tail(said, 5)),
    }
}

/// The last lines of a text.
pub(super) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Things in backticks, separated by commas, or `none`.
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
    fn a_complaint_is_the_end_of_standard_error_where_there_is_any() {
        let mut output = Output {
            exit: Exit::Status(1),
            stdout: b"out\n".to_vec(),
            stderr: b"1\n2\n3\n4\n5\n6\n".to_vec(),
            duration: Duration::ZERO,
        };
        assert_eq!(complaint(&output), "status 1: 2\n3\n4\n5\n6");
        output.stderr.clear();
        assert_eq!(complaint(&output), "status 1: out");
        output.stdout.clear();
        assert_eq!(complaint(&output), "status 1, without a word");
    }
}
