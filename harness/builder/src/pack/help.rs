// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use loadgauge_host::{CommandError, CommandExt as _, Tool};

use super::PackError;

/// What programs said of themselves, by their path and what they were asked.
static SAID: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);

/// What a program says of itself when it is given one argument, on both of its outputs; it is asked
/// once. How it ends does not count: mkfs.erofs 1.5 says its version and then fails, as it knows no
/// option for it.
pub(super) fn said(name: &str, argument: &str) -> Result<String, PackError> {
    let mut command = Tool::find(name)?.command();
    command.arg(argument);
    let line = command.line();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let said = said.get_or_insert_default();
    if let Some(text) = said.get(&line) {
        return Ok(text.clone());
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| CommandError::Start { command: line.clone(), source })?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    said.insert(line, text.clone());
    Ok(text)
}
