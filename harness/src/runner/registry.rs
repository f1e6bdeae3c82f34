// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Store;
use serde::{Deserialize, Serialize};

use super::directory::plain_name;

/// How long a machine may take to be stopped.
const PATIENCE: Duration = Duration::from_secs(30);

/// The user's machines that were left running, a file each in the store.
///
/// Whether one still runs is told by its keeper's socket and nothing else: a file whose keeper does
/// not answer any more is removed when it is met.
#[derive(Debug, Clone)]
pub struct Registry {
    directory: Utf8PathBuf,
}

/// A machine that was left running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedMachine {
    /// what it is known by
    pub name: String,
    /// what it was started for
    pub scenario: String,
    /// where its files are
    pub directory: Utf8PathBuf,
    /// the command line that leads into the guest
    pub ssh: String,
    /// where its keeper listens
    pub socket: Utf8PathBuf,
}

/// A machine that was left running cannot be noted or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// a file operation failed
    #[error("cannot {action} `{path}`")]
    Io {
        /// what was to be done
        action: &'static str,
        /// to what
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// there is none of this name
    #[error("no machine is kept as `{name}`")]
    Unknown {
        /// what was asked for
        name: String,
        /// what there is
        known: Vec<String>,
    },
    /// its keeper does not do as it is told
    #[error("the keeper of `{name}` does not stop it")]
    Refused {
        /// the machine
        name: String,
        /// why not
        #[source]
        source: io::Error,
    },
}

impl Hint for RegistryError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { known, .. } if known.is_empty() => {
                Some("no machine is kept; `loadgauge run --keep on-failure` leaves failed ones up".to_owned())
            }
            Self::Unknown { known, .. } => Some(format!("there are: {}", known.join(", "))),
            Self::Io { .. } | Self::Refused { .. } => None,
        }
    }
}

fn fail(action: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> RegistryError {
    let path = path.to_owned();
    move |source| RegistryError::Io { action, path, source }
}

impl Registry {
    /// That of a store.
    pub fn of(store: &Store) -> Self {
        Self { directory: store.root().join("kept") }
    }

    /// Notes a machine under the name that it wants, or that name with a number, and says which.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add(&self, wanted: RetainedMachine) -> Result<RetainedMachine, RegistryError> {
        fs::create_dir_all(&self.directory).map_err(fail("create", &self.directory))?;
        let _lock = self.lock()?;
        let taken: Vec<String> = self.living()?.into_iter().map(|entry| entry.name).collect();
        let plain = plain_name(&wanted.name);
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let free = std::iter::once(plain.clone()).chain(numbered).find(|name| !taken.contains(name));
        let entry = RetainedMachine { name: free.unwrap_or(plain), ..wanted };
        let path = self.file(&entry.name);
        let text =
            serde_json::to_vec_pretty(&entry).map_err(io::Error::from).map_err(fail("write", &path))?;
        fs::write(&path, text).map_err(fail("write", &path))?;
        Ok(entry)
    }

    /// Forgets a machine.
    pub fn remove(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.file(name)) {
            tracing::debug!(name, %error, "the machine was not noted any more");
        }
    }

    /// The machines that still run, sorted by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self) -> Result<Vec<RetainedMachine>, RegistryError> {
        if !self.directory.is_dir() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        self.living()
    }

    /// Has the keeper of a machine stop it, and returns when nothing is left of it.
    ///
    /// # Errors
    /// There is no such machine, or its keeper does not stop it.
    pub fn stop(&self, name: &str) -> Result<(), RegistryError> {
        let entries = self.list()?;
        let Some(entry) = entries.iter().find(|entry| entry.name == name) else {
            let known = entries.into_iter().map(|entry| entry.name).collect();
            return Err(RegistryError::Unknown { name: name.to_owned(), known });
        };
        ask_to_stop(entry).map_err(|source| RegistryError::Refused { name: name.to_owned(), source })
    }

    /// Reads all entries, and removes those whose keeper is gone.
    fn living(&self) -> Result<Vec<RetainedMachine>, RegistryError> {
        let read = || self.directory.read_dir_utf8()?.collect::<Result<Vec<_>, _>>();
        let mut living = Vec::new();
        for file in read().map_err(fail("read", &self.directory))? {
            if file.path().extension() != Some("json") {
                continue;
            }
            let entry = fs::read(file.path()).ok().and_then(|text| serde_json::from_slice(&text).ok());
            match entry {
                Some(entry) if is_alive(&entry) => living.push(entry),
                _ => fs::remove_file(file.path()).map_err(fail("remove", file.path()))?,
            }
        }
        living.sort_by(|one: &RetainedMachine, other| one.name.cmp(&other.name));
        Ok(living)
    }

    fn lock(&self) -> Result<File, RegistryError> {
        let path = self.directory.join(".lock");
        let lock = File::create(&path).map_err(fail("create", &path))?;
        lock.lock().map_err(fail("lock", &path))?;
        Ok(lock)
    }

    fn file(&self, name: &str) -> Utf8PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

fn is_alive(entry: &RetainedMachine) -> bool {
    UnixStream::connect(&entry.socket).is_ok()
}

/// What a keeper is told, and what it answers: lines.
fn ask_to_stop(entry: &RetainedMachine) -> io::Result<()> {
    let mut stream = UnixStream::connect(&entry.socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("stop {}\n", entry.name).as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    match answer.trim() {
        "stopped" => Ok(()),
        "" => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        other => Err(io::Error::other(format!("it says `{other}`"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    struct Place {
        _scratch: tempfile::TempDir,
        registry: Registry,
        socket: Utf8PathBuf,
    }

    fn place() -> Place {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(scratch.path().to_owned()).expect("UTF-8");
        let registry = Registry::of(&Store::at(root.join("store")));
        Place { _scratch: scratch, registry, socket: root.join("control") }
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
        let Place { registry, socket, _scratch } = place();
        let _keeper = UnixListener::bind(&socket).expect("bound");
        let names = ["docker/vendor", "docker.vendor", "docker/vendor"];
        let names = names.map(|name| registry.add(entry(name, &socket)).expect("noted").name);
        assert_eq!(names, ["docker.vendor", "docker.vendor-2", "docker.vendor-3"]);
        registry.remove("docker.vendor-2");
        let left: Vec<String> =
            registry.list().expect("listed").into_iter().map(|entry| entry.name).collect();
        assert_eq!(left, ["docker.vendor", "docker.vendor-3"]);
    }

    #[test]
    fn what_has_no_keeper_any_more_is_forgotten() {
        let Place { registry, socket, _scratch } = place();
        let keeper = UnixListener::bind(&socket).expect("bound");
        registry.add(entry("a", &socket)).expect("noted");
        assert_eq!(registry.list().expect("listed").len(), 1);
        drop(keeper);
        let error = registry.stop("a").expect_err("its keeper is gone");
        assert!(matches!(&error, RegistryError::Unknown { known, .. } if known.is_empty()), "{error:?}");
        assert!(registry.list().expect("listed").is_empty());
    }
}
