// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, Store, fs, quote};
use ssh_key::LineEnding;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Registry, RegistryError, RetainedMachine, SshAccess};
use crate::machine::{Machine, Supervisor, USER};

/// The name of the key in the directory of a machine.
const KEY: &str = "ssh-key";
/// The name of the socket in the directory of the supervisor.
const SOCKET: &str = "control";

/// The machines of this process that are left running after their scenarios.
///
/// A machine runs until `loadgauge stop` stops it, it dies, or this process ends. Meanwhile its SSH key is
/// in its directory with mode 0600, because the user needs it. No other secret is ever written.
///
/// `loadgauge stop` sends the line `stop NAME` to the socket; the answer is `stopped` or `unknown`.
#[derive(Debug)]
pub struct RetainedMachines {
    registry: Registry,
    socket: Utf8PathBuf,
    machines: Mutex<BTreeMap<String, StopSignals>>,
    tasks: TaskTracker,
}

/// The signals between the task of a machine and the callers that stop it.
#[derive(Debug, Clone, Default)]
struct StopSignals {
    /// cancelled to stop the machine
    stop: CancellationToken,
    /// cancelled when the machine has ended
    ended: CancellationToken,
}

/// A machine cannot be left running.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// the socket or the key cannot be created
    #[error(transparent)]
    File(#[from] FileError),
    /// the machine cannot be registered
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Hint for RetainError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Registry(error) => error.hint(),
        }
    }
}

impl RetainedMachines {
    /// Creates the socket for `loadgauge stop` and listens on it, for machines of a supervisor.
    ///
    /// # Errors
    /// The socket cannot be created.
    pub fn listen(store: &Store, supervisor: &Supervisor) -> Result<Arc<Self>, RetainError> {
        let socket = supervisor.directory().join(SOCKET);
        let listener = UnixListener::bind(&socket).map_err(FileError::at("listen on", &socket))?;
        let retained = Arc::new(Self {
            registry: Registry::of(store),
            socket,
            machines: Mutex::default(),
            tasks: TaskTracker::new(),
        });
        tokio::spawn(serve(Arc::downgrade(&retained), listener));
        Ok(retained)
    }

    /// Takes over a machine, under `wanted` or a similar free name.
    ///
    /// # Errors
    /// The key cannot be written, or the machine cannot be registered. It is stopped then.
    pub(super) fn add(self: &Arc<Self>, wanted: &str, machine: Machine) -> Result<SshAccess, RetainError> {
        let key = machine.directory().join(KEY);
        write_key(&key, &machine)?;
        let entry = self.registry.add(RetainedMachine {
            name: wanted.to_owned(),
            scenario: machine.name().to_owned(),
            directory: machine.directory().to_owned(),
            ssh: ssh_command(&key, machine.ssh_address().port()),
            socket: self.socket.clone(),
        })?;
        let signals = StopSignals::default();
        self.machines().insert(entry.name.clone(), signals.clone());
        let (retained, name) = (Arc::clone(self), entry.name.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                fault = machine.fault() => tracing::info!(name, %fault, "a machine that was left running died"),
                () = signals.stop.cancelled() => {}
            }
            machine.stop().await;
            if let Err(error) = fs::remove_file(&key) {
                tracing::warn!(%error, "the key of a stopped machine remains");
            }
            retained.registry.remove(&name);
            retained.machines().remove(&name);
            signals.ended.cancel();
        });
        Ok(SshAccess { name: entry.name, ssh: entry.ssh })
    }

    /// Whether no machine is running.
    pub fn is_empty(&self) -> bool {
        self.machines().is_empty()
    }

    /// Waits until all machines have ended.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Stops all machines and waits until they have ended.
    pub async fn stop_all(&self) {
        self.machines().values().for_each(|signals| signals.stop.cancel());
        self.ended().await;
    }

    /// Stops a machine. Returns false if none has the name.
    async fn stop(&self, name: &str) -> bool {
        let signals = self.machines().get(name).cloned();
        let Some(signals) = signals else { return false };
        signals.stop.cancel();
        signals.ended.cancelled().await;
        true
    }

    /// Nothing under this lock can panic and leave the map inconsistent.
    fn machines(&self) -> MutexGuard<'_, BTreeMap<String, StopSignals>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers connections for as long as the machines exist.
async fn serve(retained: Weak<RetainedMachines>, listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let Some(retained) = retained.upgrade() else { return };
        // The process waits for these too: the end of its last machine is what an answer reports.
        let tasks = retained.tasks.clone();
        tasks.spawn(async move {
            if let Err(error) = answer(&retained, stream).await {
                tracing::debug!(%error, "a connection to the control socket ended early");
            }
        });
    }
}

/// How long a client may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a line and writes the answer.
async fn answer(retained: &RetainedMachines, stream: UnixStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    timeout(PATIENCE, stream.read_line(&mut line)).await??;
    let answer = match line.trim().strip_prefix("stop ") {
        Some(name) if retained.stop(name).await => "stopped\n",
        _ => "unknown\n",
    };
    stream.write_all(answer.as_bytes()).await
}

fn write_key(path: &Utf8Path, machine: &Machine) -> Result<(), FileError> {
    let write = || -> io::Result<()> {
        let text = machine.key().to_openssh(LineEnding::LF).map_err(io::Error::other)?;
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(FileError::at("write the key", path))
}

/// The command line that opens a shell in a guest, independent of the user's own configuration. The host
/// key is not checked: it was created at the first boot, and no other process has the port on the loopback
/// interface.
fn ssh_command(key: &Utf8Path, port: u16) -> String {
    format!(
        "ssh -F none -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
         -o LogLevel=ERROR -p {port} {USER}@127.0.0.1",
        quote(key.as_str())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted_into_a_shell() {
        let line = ssh_command("/runs/my run/ssh-key".into(), 40022);
        assert!(line.starts_with("ssh -F none -i '/runs/my run/ssh-key' "), "{line}");
        assert!(line.ends_with(" -p 40022 core@127.0.0.1"), "{line}");
    }

    #[tokio::test]
    async fn an_unknown_machine_is_answered() {
        let scratch = tempfile::tempdir().expect("a directory");
        let store = Store::at(Utf8Path::from_path(scratch.path()).expect("UTF-8"));
        let supervisor = Supervisor::new().expect("a supervisor");
        let retained = RetainedMachines::listen(&store, &supervisor).expect("it listens");
        let mut stream = BufReader::new(UnixStream::connect(&retained.socket).await.expect("connected"));
        stream.write_all(b"stop nobody\n").await.expect("asked");
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("answered");
        assert_eq!(line, "unknown\n");
        assert!(retained.is_empty());
        retained.stop_all().await;
    }
}
