// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A command to be run by the guest's shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// as the guest's shell gets it
    pub line: String,
    /// given to it as standard input
    pub input: Vec<u8>,
    /// after which it counts as stuck
    pub timeout: Duration,
}

impl Command {
    /// A command without input that may take 60 s.
    pub fn new(line: impl Into<String>) -> Self {
        Self { line: line.into(), input: Vec::new(), timeout: Duration::from_mins(1) }
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// with this status
    Status(i32),
    /// by this signal, without `SIG` (RFC 4254, 6.10)
    Signal(String),
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// how it ended
    pub exit: Exit,
    /// its standard output
    pub stdout: Vec<u8>,
    /// its standard error
    pub stderr: Vec<u8>,
    /// from sending the command to its end
    pub duration: Duration,
}
