// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use loadgauge_host::{CommandExt as _, Tool};

use super::PackError;

/// The outputs of programs by their command lines.
static OUTPUTS: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);

/// The help or version text of a program on both of its outputs; the program is run once. Its exit status
/// is ignored: mkfs.erofs 1.5 prints its version and fails, since it has no option for it.
pub(super) fn program_text(name: &str, argument: &str) -> Result<String, PackError> {
    let mut command = Tool::find(name)?.command();
    command.arg(argument);
    let line = command.line();
    let mut outputs = OUTPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    let outputs = outputs.get_or_insert_default();
    if let Some(text) = outputs.get(&line) {
        return Ok(text.clone());
    }
    let output = command.run_to_any_end()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    outputs.insert(line, text.clone());
    Ok(text)
}
