// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::time::UNIX_EPOCH;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandError, CommandExt as _, MissingTool, Tool};
use loadgauge_images::Architecture;

/// QEMU's system emulator for an architecture, as it is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    path: Utf8PathBuf,
    version: String,
}

/// QEMU is not there, or is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// the host lacks it
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// it does not run
    #[error(transparent)]
    Command(#[from] CommandError),
    /// what it says of itself makes no sense
    #[error("`{path} --version` printed no version but `{found}`")]
    NoVersion {
        /// the program
        path: Utf8PathBuf,
        /// its first line
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
    /// Looks for the emulator of an architecture and asks for its version.
    ///
    /// # Errors
    /// The host lacks it, or it does not run.
    pub fn find(architecture: Architecture) -> Result<Self, EmulatorError> {
        let tool = Tool::find(&format!("qemu-system-{}", architecture.qemu_name()))?;
        let output = tool.command().arg("--version").run()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let first = text.lines().next().unwrap_or_default();
        let path = tool.path().to_owned();
        match version(first) {
            Some(version) => Ok(Self { path, version }),
            None => Err(EmulatorError::NoVersion { path, found: first.to_owned() }),
        }
    }

    /// The program.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Its version with the packager's, such as `10.0.2 (Debian 1:10.0.2+ds-2)`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What tells this program from another one, or from itself after an update: path, size, time of
    /// its last change, version.
    pub fn identity(&self) -> String {
        let file = self.path.metadata().ok();
        let size = file.as_ref().map_or(0, std::fs::Metadata::len);
        let changed = file.and_then(|file| file.modified().ok()?.duration_since(UNIX_EPOCH).ok());
        format!("{} {size} {} {}", self.path, changed.unwrap_or_default().as_nanos(), self.version)
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
    fn the_version_is_what_follows_the_name() {
        assert_eq!(version("QEMU emulator version 7.2.17").as_deref(), Some("7.2.17"));
        assert_eq!(version("qemu-system: no such file"), None);
    }

    #[test]
    fn the_host_has_one() {
        let emulator = Emulator::find(Architecture::Amd64).expect("QEMU is installed where tests run");
        assert!(emulator.identity().contains(emulator.version()));
    }
}
