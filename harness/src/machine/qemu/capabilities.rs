// SPDX-License-Identifier: Apache-2.0
//! The capabilities of an installed QEMU, and the versions of its machine types.
use std::io::{self, Write as _};
use std::process::Stdio;

use camino::Utf8PathBuf;
use loadgauge_host::digest::sha256;
use loadgauge_host::{Entry, FileError, Store, StoreError, Vacancy, children, fs};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::emulator::Emulator;

/// The file within an entry of the store.
const FILE: &str = "capabilities.json";
/// The first version of QEMU that writes a machine's state to a file (`file:` in `migration/file.c`).
const FILES_SINCE: (u32, u32) = (8, 2);
/// The migration capability that leaves memory out of the saved state, because a file contains it.
const IGNORE_SHARED: &str = "x-ignore-shared";
/// The migration capability that stores each page of memory at a fixed offset of the saved state.
const MAPPED_RAM: &str = "mapped-ram";

/// How a machine's memory is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotMode {
    /// the memory is a file, which every copy maps privately
    Shared,
    /// the memory is part of the saved state, which every copy reads
    Mapped,
}

impl SnapshotMode {
    /// QEMU's migration capability (`MigrationCapability` in `qapi/migration.json`).
    pub(crate) fn capability(self) -> &'static str {
        match self {
            Self::Shared => IGNORE_SHARED,
            Self::Mapped => MAPPED_RAM,
        }
    }
}

/// The capabilities of a QEMU, queried once and stored until QEMU is updated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QemuCapabilities {
    /// aliases of machine types and the versioned names: `q35` and `pc-q35-10.0`
    aliases: Vec<(String, String)>,
    /// migration capabilities
    capabilities: Vec<String>,
}

/// QEMU's capabilities cannot be queried.
#[derive(Debug, thiserror::Error)]
pub enum QemuCapabilitiesError {
    /// QEMU does not run
    #[error("cannot query the capabilities of `{path}`")]
    Query {
        /// the program
        path: Utf8PathBuf,
        /// the error of the operating system
        source: io::Error,
    },
    /// QEMU's output is incomplete
    #[error("cannot find the capabilities of `{path}` in its output: {found}")]
    Output {
        /// the program
        path: Utf8PathBuf,
        /// the beginning of the output
        found: String,
    },
}

impl QemuCapabilities {
    /// Reads the capabilities of an emulator from the store, or queries the emulator. A store that cannot be
    /// written only costs time.
    ///
    /// # Errors
    /// The emulator does not run or answer.
    pub(crate) fn of(emulator: &Emulator, store: &Store) -> Result<Self, QemuCapabilitiesError> {
        let key = sha256(format!("capabilities of {}", emulator.identity()));
        let entry = store.entry("emulator", &key);
        if let Ok(Entry::Ready(path)) = &entry {
            let stored = fs::read_to_string(path.join(FILE)).ok();
            return match stored.and_then(|text| serde_json::from_str(&text).ok()) {
                Some(capabilities) => Ok(capabilities),
                None => query(emulator),
            };
        }
        let capabilities = query(emulator)?;
        let stored = match entry {
            Ok(Entry::Vacant(vacancy)) => capabilities.store(vacancy),
            Ok(Entry::Ready(_)) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            tracing::debug!(%error, "cannot store the capabilities of QEMU");
        }
        Ok(capabilities)
    }

    fn store(&self, vacancy: Vacancy) -> Result<(), StoreError> {
        let path = vacancy.directory().join(FILE);
        let text = serde_json::to_string_pretty(self)
            .map_err(io::Error::from)
            .map_err(FileError::at("write", &path))?;
        fs::write(&path, text)?;
        vacancy.commit()?;
        Ok(())
    }

    /// The versioned name of a machine type. What an alias means changes with an update of QEMU.
    pub(crate) fn machine_type(&self, alias: &str) -> Option<&str> {
        self.aliases.iter().find(|(name, _)| name == alias).map(|(_, machine_type)| machine_type.as_str())
    }

    /// The best mode for snapshots, or why there is none.
    pub(crate) fn snapshot_mode(&self, version: &str) -> Result<SnapshotMode, String> {
        let supports = |mode: SnapshotMode| self.capabilities.iter().any(|name| name == mode.capability());
        if major_minor(version).is_none_or(|version| version < FILES_SINCE) {
            let (major, minor) = FILES_SINCE;
            return Err(format!("QEMU {version} cannot save machines to files, {major}.{minor} can"));
        }
        [SnapshotMode::Shared, SnapshotMode::Mapped]
            .into_iter()
            .find(|mode| supports(*mode))
            .ok_or_else(|| format!("QEMU {version} supports neither `{IGNORE_SHARED}` nor `{MAPPED_RAM}`"))
    }
}

/// The first two numbers of a version.
fn major_minor(version: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let mut parts = version.split('.');
    Some((number(parts.next()?)?, number(parts.next()?)?))
}

/// Starts an emulator without a machine and queries it over QMP.
fn query(emulator: &Emulator) -> Result<QemuCapabilities, QemuCapabilitiesError> {
    const COMMANDS: &str = r#"{"execute":"qmp_capabilities"}
{"execute":"query-machines","id":"machines"}
{"execute":"query-migrate-capabilities","id":"capabilities"}
{"execute":"quit"}
"#;
    let failed = |source| QemuCapabilitiesError::Query { path: emulator.path().to_owned(), source };
    let mut command = emulator.command();
    command
        .args(["-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = children::start(&mut command).map_err(failed)?;
    let sent = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(COMMANDS.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(capabilities) = parse(&text) {
        return Ok(capabilities);
    }
    // A QEMU that exits early takes no commands: what it printed says more.
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.trim().is_empty() {
        sent.map_err(failed)?;
    }
    let found = format!("{}: {}{text}", output.status, errors.trim());
    let found = found.chars().take(200).collect();
    Err(QemuCapabilitiesError::Output { path: emulator.path().to_owned(), found })
}

/// Finds both answers in the output on QMP.
fn parse(text: &str) -> Option<QemuCapabilities> {
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let answer = |id: &str| lines.iter().find(|line| line["id"] == id)?["return"].as_array();
    let string = |value: &Value| value.as_str().map(str::to_owned);
    let aliases = answer("machines")?
        .iter()
        .filter_map(|machine| Some((string(&machine["alias"])?, string(&machine["name"])?)));
    let capabilities = answer("capabilities")?.iter().filter_map(|each| string(&each["capability"]));
    Some(QemuCapabilities { aliases: aliases.collect(), capabilities: capabilities.collect() })
}

#[cfg(test)]
mod tests {
    use loadgauge_images::Architecture;

    use super::*;

    fn capabilities(names: &[&str]) -> QemuCapabilities {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        QemuCapabilities { capabilities: names, aliases: vec![("q35".to_owned(), "pc-q35-10.0".to_owned())] }
    }

    #[test]
    fn the_best_mode_is_chosen_and_a_missing_one_is_explained() {
        let both = capabilities(&[IGNORE_SHARED, MAPPED_RAM]);
        assert_eq!(both.snapshot_mode("10.0.2 (Debian)"), Ok(SnapshotMode::Shared));
        assert_eq!(capabilities(&[MAPPED_RAM]).snapshot_mode("9.0.0"), Ok(SnapshotMode::Mapped));
        let old = both.snapshot_mode("7.2.17 (Debian 1:7.2)").expect_err("too old");
        assert!(old.contains("7.2.17") && old.contains("8.2"), "{old}");
        assert!(capabilities(&[]).snapshot_mode("9.0.0").expect_err("neither").contains(MAPPED_RAM));
        assert!(both.snapshot_mode("").is_err());
    }

    #[test]
    fn the_installed_qemu_reports_its_machine_types() {
        let emulator = Emulator::find(Architecture::Amd64).expect("QEMU is installed where tests run");
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8"));
        let asked = QemuCapabilities::of(&emulator, &store).expect("asked");
        let machine_type = asked.machine_type("q35").expect("every QEMU has it");
        assert!(machine_type.starts_with("pc-q35-"), "{machine_type}");
        assert!(asked.machine_type("pc-q35").is_none());
        assert_eq!(QemuCapabilities::of(&emulator, &store).expect("stored"), asked);
    }

    #[test]
    fn incomplete_output_is_rejected() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("{\"QMP\":{}}\n{\"return\":[],\"id\":\"machines\"}\n"), None);
    }
}
