// SPDX-License-Identifier: Apache-2.0
use std::process::{Command, ExitStatus, Output, Stdio};

use crate::{Hint, quote};

/// How much of a failed command's standard error stands in the error, in lines.
const TAIL: usize = 20;

/// An external command that could not be run or said no.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// it was not started
    #[error("cannot run `{command}`")]
    Start {
        /// the command line
        command: String,
        /// why not
        source: std::io::Error,
    },
    /// it could not be confined
    #[error("cannot confine `{command}`: {reason}")]
    Confine {
        /// the command line
        command: String,
        /// the error of the kernel
        reason: String,
    },
    /// it ended with another status than 0
    #[error("`{command}` failed with {status}:\n{tail}")]
    Failed {
        /// the command line
        command: String,
        /// exit status or signal
        status: ExitStatus,
        /// the end of what it printed
        tail: String,
    },
}

impl Hint for CommandError {
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Runs external commands so that a failure carries what they said.
pub trait CommandExt {
    /// Runs to the end with both outputs captured and no input.
    ///
    /// # Errors
    /// The command cannot be started or ends with another status than 0.
    fn run(&mut self) -> Result<Output, CommandError>;

    /// The same with something to read.
    ///
    /// # Errors
    /// As [`CommandExt::run`].
    fn run_with(&mut self, input: Stdio) -> Result<Output, CommandError>;

    /// The command line as one would type it.
    fn line(&self) -> String;
}

impl CommandExt for Command {
    fn run(&mut self) -> Result<Output, CommandError> {
        self.run_with(Stdio::null())
    }

    fn run_with(&mut self, input: Stdio) -> Result<Output, CommandError> {
        let line = self.line();
        tracing::debug!(command = %line, "run");
        let output = self
            .stdin(input)
            .output()
            .map_err(|source| CommandError::Start { command: line.clone(), source })?;
        if output.status.success() {
            return Ok(output);
        }
        Err(CommandError::Failed { command: line, status: output.status, tail: tail(&output) })
    }

    fn line(&self) -> String {
        std::iter::once(self.get_program())
            .chain(self.get_args())
            .map(|word| quote(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The last lines that a command printed, of standard error where it said anything there.
fn tail(output: &Output) -> String {
    let bytes = if output.stderr.trim_ascii().is_empty() { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_commands_own_words() {
        let error = Command::new("sh").args(["-c", "echo out; echo 'no such thing' >&2; exit 3"]).run();
        let text = error.expect_err("status 3").to_string();
        assert!(text.contains("exit status: 3") && text.contains("no such thing"), "{text}");
    }

    #[test]
    fn a_line_can_be_typed_again() {
        assert_eq!(Command::new("echo").args(["a b", "it's", "x=1"]).line(), r"echo 'a b' 'it'\''s' x=1");
    }
}
