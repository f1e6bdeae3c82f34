// SPDX-License-Identifier: Apache-2.0
use std::process::Command;
use std::time::UNIX_EPOCH;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandError, CommandExt as _, Hint, MissingTool, Tool};
use loadgauge_images::Architecture;

/// The installed QEMU system emulator for an architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    tool: Tool,
    version: String,
}

/// QEMU is missing or does not work.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// it is not installed
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// it does not run
    #[error(transparent)]
    Command(#[from] CommandError),
    /// the output of `--version` is unknown
    #[error("cannot find a version in the output of `{path} --version`: `{found}`")]
    NoVersion {
        /// the program
        path: Utf8PathBuf,
        /// the first line of its output
        found: String,
    },
}

impl Hint for EmulatorError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(missing) => missing.hint(),
            Self::Command(_) | Self::NoVersion { .. } => {
                Some("reinstall QEMU: sudo apt-get install --reinstall qemu-system-x86".to_owned())
            }
        }
    }
}

impl Emulator {
    /// Finds the emulator for an architecture and asks for its version.
    ///
    /// # Errors
    /// It is not installed, or does not run.
    pub fn find(architecture: Architecture) -> Result<Self, EmulatorError> {
        let tool = Tool::find(&format!("qemu-system-{}", architecture.qemu_name()))?;
        let output = tool.command().arg("--version").run()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let first = text.lines().next().unwrap_or_default();
        match version(first) {
            Some(version) => Ok(Self { tool, version }),
            None => Err(EmulatorError::NoVersion { path: tool.path().to_owned(), found: first.to_owned() }),
        }
    }

    /// The program.
    pub fn path(&self) -> &Utf8Path {
        self.tool.path()
    }

    /// A command that runs the program.
    pub(crate) fn command(&self) -> Command {
        self.tool.command()
    }

    /// The program as a tool of the host.
    pub(crate) fn tool(&self) -> &Tool {
        &self.tool
    }

    /// The version with the packager's, such as `10.0.2 (Debian 1:10.0.2+ds-2)`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Identifies the program across updates: path, size, modification time and version.
    pub fn identity(&self) -> String {
        let file = self.path().metadata().ok();
        let size = file.as_ref().map_or(0, std::fs::Metadata::len);
        let changed = file.and_then(|file| file.modified().ok()?.duration_since(UNIX_EPOCH).ok());
        format!("{} {size} {} {}", self.path(), changed.unwrap_or_default().as_nanos(), self.version)
    }
}

/// The version in `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
fn version(line: &str) -> Option<String> {
    let version = line.strip_prefix("QEMU emulator version ")?.trim();
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_follows_the_name() {
        assert_eq!(version("QEMU emulator version 7.2.17").as_deref(), Some("7.2.17"));
        assert_eq!(version("qemu-system: no such file"), None);
    }

    #[test]
    fn the_installed_emulator_is_found() {
        let emulator = Emulator::find(Architecture::Amd64).expect("QEMU is installed where tests run");
        assert!(emulator.identity().contains(emulator.version()));
    }
}
