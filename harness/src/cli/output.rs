// SPDX-License-Identifier: Apache-2.0
use std::io::{self, Write as _};

use serde::Serialize;

use super::{Exit, Failure};

/// Writes a text to standard output. A reader that has seen enough and left is no error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::words(Exit::Internal, format!("cannot write to standard output: {error}"), None))
        }
        _ => Ok(()),
    }
}

/// Writes a value to standard output as JSON for people and programs.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::new(Exit::Internal, &error, None))?;
    print(&format!("{text}\n"))
}

/// Tells what is being done, on standard error.
pub(super) fn tell(text: &str) {
    anstream::eprintln!("{text}");
}
