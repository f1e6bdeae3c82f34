// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use camino::Utf8PathBuf;
use loadgauge_host::{FileError, Hint, Store, fs};
use serde::{Deserialize, Serialize};

use super::directory::plain_name;

/// The limit for stopping a machine.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The user's machines that were left running, with a file for each in the store.
///
/// A machine is running if the process that owns it accepts connections on its socket. The files of other
/// machines are removed when they are found.
#[derive(Debug, Clone)]
pub struct Registry {
    directory: Utf8PathBuf,
}

/// A machine that was left running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedMachine {
    /// name for `loadgauge stop`
    pub name: String,
    /// name of the machine in its run
    pub scenario: String,
    /// directory of its files
    pub directory: Utf8PathBuf,
    /// command line that opens a shell in the guest
    pub ssh: String,
    /// socket of the process that owns it
    pub socket: Utf8PathBuf,
}

/// A machine cannot be registered or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// no machine has the name
    #[error("no running machine has the name `{name}`")]
    Unknown {
        /// the name
        name: String,
        /// the names of the machines that run
        known: Vec<String>,
    },
    /// the process that owns the machine does not stop it
    #[error("the process that owns `{name}` did not stop it")]
    NotStopped {
        /// name of the machine
        name: String,
        /// error of the connection to the process
        #[source]
        source: io::Error,
    },
}

impl Hint for RegistryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { known, .. } if known.is_empty() => {
                Some("none is running; `loadgauge run --keep on-failure` leaves machines of failed scenarios running".to_owned())
            }
            Self::Unknown { known, .. } => Some(format!("choose one of {}", known.join(", "))),
            Self::File(error) => error.hint(),
            Self::NotStopped { .. } => None,
        }
    }
}

impl Registry {
    /// The registry in a store.
    pub fn of(store: &Store) -> Self {
        Self { directory: store.root().join("kept") }
    }

    /// Registers a machine under its name, or under that name with a number if it is in use.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add(&self, wanted: RetainedMachine) -> Result<RetainedMachine, RegistryError> {
        fs::create_dir_all(&self.directory)?;
        let _lock = self.lock()?;
        let used: Vec<String> = self.running()?.into_iter().map(|entry| entry.name).collect();
        let plain = plain_name(&wanted.name);
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let free = std::iter::once(plain.clone()).chain(numbered).find(|name| !used.contains(name));
        let entry = RetainedMachine { name: free.unwrap_or(plain), ..wanted };
        let path = self.file(&entry.name);
        let text = serde_json::to_vec_pretty(&entry)
            .map_err(io::Error::from)
            .map_err(FileError::at("write", &path))?;
        fs::write(&path, text)?;
        Ok(entry)
    }

    /// Removes a machine.
    pub fn remove(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.file(name)) {
            tracing::debug!(name, %error, "the machine was not registered any more");
        }
    }

    /// The machines that are running, sorted by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> Result<Vec<RetainedMachine>, RegistryError> {
        if !self.directory.is_dir() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        self.running()
    }

    /// Stops a machine through the process that owns it, and returns when it has ended.
    ///
    /// # Errors
    /// No machine has the name, or the process does not stop it.
    pub fn stop(&self, name: &str) -> Result<(), RegistryError> {
        let entries = self.list()?;
        let Some(entry) = entries.iter().find(|entry| entry.name == name) else {
            let known = entries.into_iter().map(|entry| entry.name).collect();
            return Err(RegistryError::Unknown { name: name.to_owned(), known });
        };
        ask_to_stop(entry).map_err(|source| RegistryError::NotStopped { name: name.to_owned(), source })
    }

    /// Reads all entries, and removes those of machines that have ended.
    fn running(&self) -> Result<Vec<RetainedMachine>, RegistryError> {
        let read = || self.directory.read_dir_utf8()?.collect::<Result<Vec<_>, _>>();
        let mut running = Vec::new();
        for file in read().map_err(FileError::at("list", &self.directory))? {
            if file.path().extension() != Some("json") {
                continue;
            }
            let entry = fs::read(file.path()).ok().and_then(|text| serde_json::from_slice(&text).ok());
            match entry {
                Some(entry) if is_alive(&entry) => running.push(entry),
                _ => fs::remove_file(file.path())?,
            }
        }
        running.sort_by(|one: &RetainedMachine, other| one.name.cmp(&other.name));
        Ok(running)
    }

    fn lock(&self) -> Result<File, RegistryError> {
        let path = self.directory.join(".lock");
        let lock = fs::create(&path)?;
        lock.lock().map_err(FileError::at("lock", &path))?;
        Ok(lock)
    }

    fn file(&self, name: &str) -> Utf8PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

fn is_alive(entry: &RetainedMachine) -> bool {
    UnixStream::connect(&entry.socket).is_ok()
}

/// Sends `stop NAME` on the socket; see [`RetainedMachines`](super::RetainedMachines).
fn ask_to_stop(entry: &RetainedMachine) -> io::Result<()> {
    let mut stream = UnixStream::connect(&entry.socket)?;
    stream.set_read_timeout(Some(STOP_LIMIT))?;
    stream.write_all(format!("stop {}\n", entry.name).as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    match answer.trim() {
        "stopped" => Ok(()),
        "" => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        other => Err(io::Error::other(format!("unexpected answer `{other}`"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use camino::Utf8Path;

    use super::*;

    struct Fixture {
        _scratch: tempfile::TempDir,
        registry: Registry,
        socket: Utf8PathBuf,
    }

    fn fixture() -> Fixture {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
        let registry = Registry::of(&Store::at(root.join("store")));
        Fixture { _scratch: scratch, registry, socket: root.join("control") }
    }

    fn entry(name: &str, socket: &Utf8Path) -> RetainedMachine {
        RetainedMachine {
            name: name.to_owned(),
            scenario: name.to_owned(),
            directory: "/run".into(),
            ssh: "ssh".to_owned(),
            socket: socket.to_owned(),
        }
    }

    #[test]
    fn a_name_is_plain_and_never_taken_twice() {
        let Fixture { registry, socket, _scratch } = fixture();
        let _process = UnixListener::bind(&socket).expect("bound");
        let names = ["docker/vendor", "docker.vendor", "docker/vendor"];
        let names = names.map(|name| registry.add(entry(name, &socket)).expect("registered").name);
        assert_eq!(names, ["docker.vendor", "docker.vendor-2", "docker.vendor-3"]);
        registry.remove("docker.vendor-2");
        let left: Vec<String> =
            registry.list().expect("listed").into_iter().map(|entry| entry.name).collect();
        assert_eq!(left, ["docker.vendor", "docker.vendor-3"]);
    }

    #[test]
    fn machines_whose_process_has_ended_are_removed() {
        let Fixture { registry, socket, _scratch } = fixture();
        let process = UnixListener::bind(&socket).expect("bound");
        registry.add(entry("a", &socket)).expect("registered");
        assert_eq!(registry.list().expect("listed").len(), 1);
        drop(process);
        let error = registry.stop("a").expect_err("its process has ended");
        assert!(matches!(&error, RegistryError::Unknown { known, .. } if known.is_empty()), "{error:?}");
        assert!(registry.list().expect("listed").is_empty());
    }
}
