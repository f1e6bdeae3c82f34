// SPDX-License-Identifier: Apache-2.0
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Failure, output};

/// The option `--format` of commands that print data.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct FormatChoice {
    /// Format of the output
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    Text,
    Json,
}

impl FormatChoice {
    /// Prints a value as JSON, or its text.
    pub(super) fn print(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Json => output::print_json(value),
            OutputFormat::Text => output::print(&text()),
        }
    }
}
