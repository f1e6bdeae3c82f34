// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use loadgauge_host::quote;
use serde::{Deserialize, Serialize};

/// A command for the guest's shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// the command line
    pub line: String,
    /// standard input
    pub input: Vec<u8>,
    /// the limit of its run time
    pub timeout: Duration,
}

impl Command {
    /// A command without input and with a time-out of 60 s.
    pub fn new(line: impl Into<String>) -> Self {
        Self { line: line.into(), input: Vec::new(), timeout: Duration::from_mins(1) }
    }

    /// A shell script for root: Flatcar's `core` may use sudo without a password.
    pub fn as_root(script: &str) -> Self {
        Self::new(format!("sudo -n -- sh -c {}", quote(script)))
    }

    /// The same command with standard input.
    #[must_use]
    pub fn with_input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// The same command with another time-out.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// the exit status
    Status(i32),
    /// the signal, without `SIG` (RFC 4254, 6.10)
    Signal(String),
}

impl Exit {
    /// Whether the status is 0.
    pub fn success(&self) -> bool {
        *self == Self::Status(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "status {status}"),
            Self::Signal(signal) => write!(formatter, "signal {signal}"),
        }
    }
}

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// how it ended
    pub exit: Exit,
    /// standard output
    pub stdout: Vec<u8>,
    /// standard error
    pub stderr: Vec<u8>,
    /// the time from sending the command to its end
    pub duration: Duration,
}

impl Output {
    /// Standard output as text. Invalid UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Standard error as text. Invalid UTF-8 is replaced.
    pub fn error_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_script_for_root_is_one_argument() {
        let command = Command::as_root("echo \"it's\" > /run/x");
        assert_eq!(command.line, r#"sudo -n -- sh -c 'echo "it'\''s" > /run/x'"#);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The shell is the oracle.
        #[test]
        fn a_shell_unquotes_to_the_original(text in "[^\\x00]{0,40}") {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(&text))])
                .output()
                .expect("sh runs");
            prop_assert_eq!(output.stdout, text.as_bytes());
        }
    }
}
