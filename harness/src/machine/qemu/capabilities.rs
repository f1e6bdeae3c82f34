// SPDX-License-Identifier: Apache-2.0
//! What a QEMU can do, and what it calls its machines.
use std::io::{self, Write as _};
use std::process::Stdio;

use camino::Utf8PathBuf;
use loadgauge_host::{Entry, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::emulator::Emulator;
use crate::machine::directory::{FileError, at};

/// The file within an entry of the store.
const FILE: &str = "abilities.json";
/// Since when QEMU writes a machine's state to a file without help (`file:` in `migration/file.c`).
const FILES_SINCE: (u32, u32) = (8, 2);
/// Leaves memory where it is when a machine is saved: the file that it lies in is the snapshot's.
const IGNORE_SHARED: &str = "x-ignore-shared";
/// Lays memory out in the file with the machine's state, page by page at a fixed place.
const MAPPED_RAM: &str = "mapped-ram";

/// How a machine is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotMode {
    /// its memory lies in a file, which stays and which every copy maps for itself
    Shared,
    /// its memory is written to the file with the rest of its state, and read by every copy
    Mapped,
}

impl SnapshotMode {
    /// QEMU's capability for it (`MigrationCapability` in `qapi/migration.json`).
    pub(crate) fn capability(self) -> &'static str {
        match self {
            Self::Shared => IGNORE_SHARED,
            Self::Mapped => MAPPED_RAM,
        }
    }
}

/// What a QEMU can do. Asked once and kept in the store, until it is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QemuCapabilities {
    /// names without a version and what they stand for: `q35` and `pc-q35-10.0`
    aliases: Vec<(String, String)>,
    /// what it can do when it saves a machine
    capabilities: Vec<String>,
}

/// QEMU does not say what it can do.
#[derive(Debug, thiserror::Error)]
pub enum QemuCapabilitiesError {
    /// it does not run
    #[error("cannot ask `{path}` what it can do")]
    Ask {
        /// the program
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// its answer makes no sense
    #[error("`{path}` does not say what it can do but: {found}")]
    Answer {
        /// the program
        path: Utf8PathBuf,
        /// what it says
        found: String,
    },
    /// the answer cannot be kept
    #[error(transparent)]
    Store(#[from] StoreError),
    /// a file cannot be written
    #[error(transparent)]
    File(#[from] FileError),
}

impl QemuCapabilities {
    /// Asks an emulator, or the store where it was asked before.
    ///
    /// # Errors
    /// It does not run or answer, or the store cannot be written.
    pub(crate) fn of(emulator: &Emulator, store: &Store) -> Result<Self, QemuCapabilitiesError> {
        let key = hex::encode(Sha256::digest(emulator.identity()));
        match store.entry("emulator", &key)? {
            Entry::Ready(path) => {
                let kept = std::fs::read_to_string(path.join(FILE)).ok();
                match kept.and_then(|text| serde_json::from_str(&text).ok()) {
                    Some(abilities) => Ok(abilities),
                    None => ask(emulator),
                }
            }
            Entry::Vacant(vacancy) => {
                let abilities = ask(emulator)?;
                let path = vacancy.directory().join(FILE);
                let text = serde_json::to_string_pretty(&abilities).map_err(io::Error::from);
                text.and_then(|text| std::fs::write(&path, text)).map_err(at("write", &path))?;
                vacancy.commit()?;
                Ok(abilities)
            }
        }
    }

    /// The versioned name of a machine: what an alias stands for changes with the next QEMU.
    pub(crate) fn machine(&self, alias: &str) -> Option<&str> {
        self.aliases.iter().find(|(name, _)| name == alias).map(|(_, machine)| machine.as_str())
    }

    /// The best way to save a machine, or why there is none.
    pub(crate) fn snapshot_mode(&self, version: &str) -> Result<SnapshotMode, String> {
        let can = |way: SnapshotMode| self.capabilities.iter().any(|name| name == way.capability());
        if major_minor(version).is_none_or(|version| version < FILES_SINCE) {
            let (major, minor) = FILES_SINCE;
            return Err(format!("QEMU {version} cannot save machines to files, {major}.{minor} can"));
        }
        [SnapshotMode::Shared, SnapshotMode::Mapped]
            .into_iter()
            .find(|way| can(*way))
            .ok_or_else(|| format!("QEMU {version} knows neither `{IGNORE_SHARED}` nor `{MAPPED_RAM}`"))
    }
}

/// The first two numbers of a version.
fn major_minor(version: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let mut parts = version.split('.');
    Some((number(parts.next()?)?, number(parts.next()?)?))
}

/// Starts it without a machine and asks over its monitor.
fn ask(emulator: &Emulator) -> Result<QemuCapabilities, QemuCapabilitiesError> {
    const QUESTIONS: &str = r#"{"execute":"qmp_capabilities"}
{"execute":"query-machines","id":"machines"}
{"execute":"query-migrate-capabilities","id":"capabilities"}
{"execute":"quit"}
"#;
    let failed = |source| QemuCapabilitiesError::Ask { path: emulator.path().to_owned(), source };
    let mut child = std::process::Command::new(emulator.path())
        .args(["-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let asked = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(QUESTIONS.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    asked.map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| QemuCapabilitiesError::Answer {
        path: emulator.path().to_owned(),
        found: text.chars().take(200).collect(),
    })
}

/// Reads the answers to both questions out of what the monitor says.
fn parse(text: &str) -> Option<QemuCapabilities> {
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let answer = |id: &str| lines.iter().find(|line| line["id"] == id)?["return"].as_array();
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let aliases = answer("machines")?
        .iter()
        .filter_map(|machine| Some((word(&machine["alias"])?, word(&machine["name"])?)));
    let capabilities = answer("capabilities")?.iter().filter_map(|each| word(&each["capability"]));
    Some(QemuCapabilities { aliases: aliases.collect(), capabilities: capabilities.collect() })
}

#[cfg(test)]
mod tests {
    use loadgauge_images::Architecture;

    use super::*;

    fn abilities(capabilities: &[&str]) -> QemuCapabilities {
        let capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
        QemuCapabilities { aliases: vec![("q35".to_owned(), "pc-q35-10.0".to_owned())], capabilities }
    }

    #[test]
    fn the_best_way_is_taken_and_none_is_explained() {
        let both = abilities(&[IGNORE_SHARED, MAPPED_RAM]);
        assert_eq!(both.snapshot_mode("10.0.2 (Debian)"), Ok(SnapshotMode::Shared));
        assert_eq!(abilities(&[MAPPED_RAM]).snapshot_mode("9.0.0"), Ok(SnapshotMode::Mapped));
        let old = both.snapshot_mode("7.2.17 (Debian 1:7.2)").expect_err("too old");
        assert!(old.contains("7.2.17") && old.contains("8.2"), "{old}");
        assert!(abilities(&[]).snapshot_mode("9.0.0").expect_err("neither").contains(MAPPED_RAM));
        assert!(both.snapshot_mode("").is_err());
    }

    #[test]
    fn the_installed_qemu_says_what_its_machines_are() {
        let emulator = Emulator::find(Architecture::Amd64).expect("QEMU is installed where tests run");
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8"));
        let asked = QemuCapabilities::of(&emulator, &store).expect("asked");
        let machine = asked.machine("q35").expect("every QEMU has it");
        assert!(machine.starts_with("pc-q35-"), "{machine}");
        assert!(asked.machine("pc-q35").is_none());
        assert_eq!(QemuCapabilities::of(&emulator, &store).expect("kept"), asked);
    }

    #[test]
    fn what_is_no_answer_is_none() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("{\"QMP\":{}}\n{\"return\":[],\"id\":\"machines\"}\n"), None);
    }
}
