// SPDX-License-Identifier: Apache-2.0
use std::process::{Command, ExitStatus, Output, Stdio};

use crate::children::{self, OwnedChild};
use crate::{Hint, quote};

/// The number of lines of a failed command's output in the error.
const TAIL: usize = 20;

/// An external command that could not be run or failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// the command could not be started
    #[error("cannot run `{command}`")]
    Start {
        /// the command line
        command: String,
        /// the reason
        source: std::io::Error,
    },
    /// the command could not be confined
    #[error("cannot confine `{command}`: {reason}")]
    Confine {
        /// the command line
        command: String,
        /// the kernel's error
        reason: String,
    },
    /// the command exited with another status than 0
    #[error("`{command}` failed with {status}:\n{tail}")]
    Failed {
        /// the command line
        command: String,
        /// the exit status or signal
        status: ExitStatus,
        /// the end of the command's output
        tail: String,
    },
}

impl Hint for CommandError {
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Runs external commands and reports their output on failure.
pub trait CommandExt {
    /// Runs the command to its end without input, and captures both outputs.
    ///
    /// # Errors
    /// The command cannot be started or ends with another status than 0.
    fn run(&mut self) -> Result<Output, CommandError>;

    /// Runs the command to its end with an input, and captures both outputs.
    ///
    /// # Errors
    /// As [`CommandExt::run`].
    fn run_with(&mut self, input: Stdio) -> Result<Output, CommandError>;

    /// Runs the command to its end without input, whatever its exit status, and captures both outputs.
    ///
    /// # Errors
    /// The command cannot be started.
    fn run_to_any_end(&mut self) -> Result<Output, CommandError>;

    /// Returns the command line as a shell user would type it.
    fn line(&self) -> String;
}

impl CommandExt for Command {
    fn run(&mut self) -> Result<Output, CommandError> {
        self.run_with(Stdio::null())
    }

    fn run_with(&mut self, input: Stdio) -> Result<Output, CommandError> {
        let output = finish(self, input)?;
        if output.status.success() {
            return Ok(output);
        }
        Err(CommandError::Failed { command: self.line(), status: output.status, tail: tail(&output) })
    }

    fn run_to_any_end(&mut self) -> Result<Output, CommandError> {
        finish(self, Stdio::null())
    }

    fn line(&self) -> String {
        std::iter::once(self.get_program())
            .chain(self.get_args())
            .map(|word| quote(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn finish(command: &mut Command, input: Stdio) -> Result<Output, CommandError> {
    let line = command.line();
    tracing::debug!(command = %line, "run");
    children::start(command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()))
        .and_then(OwnedChild::wait_with_output)
        .map_err(|source| CommandError::Start { command: line, source })
}

/// Returns the last lines of standard error or, if that is empty, of standard output.
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
