// SPDX-License-Identifier: Apache-2.0
use std::io::{self, Write as _};

use serde::Serialize;

use super::{Exit, Failure};
use crate::report::log;

/// Writes data to standard output. A reader that closed its end early is not an error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Internal, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes data to standard output as indented JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::internal)?;
    print(&format!("{text}\n"))
}

/// Writes a message for the user to standard error, if that can be written.
pub(super) fn message(text: &str) {
    log(text);
}
