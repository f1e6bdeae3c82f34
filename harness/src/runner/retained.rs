// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{Hint, Store, quote};
use ssh_key::LineEnding;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Registry, RegistryError, RetainedMachine, SshAccess};
use crate::machine::{Machine, Supervisor, USER};

/// The name of the key in a machine's directory.
const KEY: &str = "ssh-key";
/// The name of the socket beside the machines' own.
const SOCKET: &str = "control";

/// The machines of this process that are left running when their scenarios have ended.
///
/// Each lives until it is stopped by its name, dies, or this process ends. Its key lies in its
/// directory with mode 0600 for as long: the one secret that is ever written, because whoever wants
/// to look into the guest needs it.
#[derive(Debug)]
pub struct RetainedMachines {
    registry: Registry,
    socket: Utf8PathBuf,
    machines: Mutex<BTreeMap<String, Life>>,
    tasks: TaskTracker,
}

#[derive(Debug, Clone, Default)]
struct Life {
    stop: CancellationToken,
    ended: CancellationToken,
}

/// A machine cannot be left running.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// the keeper cannot be spoken to
    #[error("cannot listen on `{path}`")]
    Listen {
        /// the socket
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// the key cannot be written
    #[error("cannot write the key `{path}`")]
    Key {
        /// the file
        path: Utf8PathBuf,
        /// why not
        source: io::Error,
    },
    /// it cannot be noted
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Hint for RetainError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Listen { .. } | Self::Key { .. } => None,
        }
    }
}

impl RetainedMachines {
    /// A keeper of machines of a supervisor, which listens to `loadgauge stop` from now on.
    ///
    /// # Errors
    /// Its socket cannot be made.
    pub fn listen(store: &Store, supervisor: &Supervisor) -> Result<Arc<Self>, RetainError> {
        let socket = supervisor.directory().join(SOCKET);
        let listener = UnixListener::bind(&socket)
            .map_err(|source| RetainError::Listen { path: socket.clone(), source })?;
        let kept = Arc::new(Self {
            registry: Registry::of(store),
            socket,
            machines: Mutex::default(),
            tasks: TaskTracker::new(),
        });
        tokio::spawn(serve(Arc::downgrade(&kept), listener));
        Ok(kept)
    }

    /// Takes a machine over, under a name like `wanted`.
    ///
    /// # Errors
    /// Its key cannot be written, or it cannot be noted. It is stopped then.
    pub(super) fn take(self: &Arc<Self>, wanted: &str, machine: Machine) -> Result<SshAccess, RetainError> {
        let key = machine.directory().join(KEY);
        write_key(&key, &machine).map_err(|source| RetainError::Key { path: key.clone(), source })?;
        let entry = self.registry.add(RetainedMachine {
            name: wanted.to_owned(),
            scenario: machine.name().to_owned(),
            directory: machine.directory().to_owned(),
            ssh: ssh_line(&key, machine.ssh_address().port()),
            socket: self.socket.clone(),
        })?;
        let life = Life::default();
        self.machines().insert(entry.name.clone(), life.clone());
        let (kept, name) = (Arc::clone(self), entry.name.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                fault = machine.fault() => tracing::info!(name, %fault, "a machine that was kept is dead"),
                () = life.stop.cancelled() => {}
            }
            machine.stop().await;
            if let Err(error) = std::fs::remove_file(&key) {
                tracing::warn!(path = %key, %error, "cannot remove the key of a machine that is gone");
            }
            kept.registry.remove(&name);
            kept.machines().remove(&name);
            life.ended.cancel();
        });
        Ok(SshAccess { name: entry.name, ssh: entry.ssh })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.machines().is_empty()
    }

    /// Waits until none is left.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Stops all, and waits until nothing is left of them.
    pub async fn stop_all(&self) {
        self.machines().values().for_each(|life| life.stop.cancel());
        self.ended().await;
    }

    /// Stops one, and says whether there was one of this name.
    async fn stop(&self, name: &str) -> bool {
        let life = self.machines().get(name).cloned();
        let Some(life) = life else { return false };
        life.stop.cancel();
        life.ended.cancelled().await;
        true
    }

    /// Nothing is done under this lock that could panic half-way.
    fn machines(&self) -> MutexGuard<'_, BTreeMap<String, Life>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers whoever connects, for as long as the keeper lives.
async fn serve(kept: std::sync::Weak<RetainedMachines>, listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let Some(kept) = kept.upgrade() else { return };
        tokio::spawn(async move {
            if let Err(error) = answer(&kept, stream).await {
                tracing::debug!(%error, "whoever asked the keeper has gone");
            }
        });
    }
}

/// A line is asked and a line is answered: `stop NAME`, then `stopped` or `unknown`.
async fn answer(kept: &RetainedMachines, stream: UnixStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let answer = match line.trim().strip_prefix("stop ") {
        Some(name) if kept.stop(name).await => "stopped\n",
        _ => "unknown\n",
    };
    stream.write_all(answer.as_bytes()).await
}

fn write_key(path: &Utf8Path, machine: &Machine) -> io::Result<()> {
    let text = machine.key().to_openssh(LineEnding::LF).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// The command line that leads into a guest, whatever the user's own configuration says. The guest's
/// host key is of no account: it was made at first boot, and nobody else has the port on the loopback.
fn ssh_line(key: &Utf8Path, port: u16) -> String {
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
    fn the_line_can_be_pasted_into_a_shell() {
        let line = ssh_line("/runs/my run/ssh-key".into(), 40022);
        assert!(line.starts_with("ssh -F none -i '/runs/my run/ssh-key' "), "{line}");
        assert!(line.ends_with(" -p 40022 core@127.0.0.1"), "{line}");
    }

    #[tokio::test]
    async fn a_keeper_says_what_it_does_not_know() {
        let scratch = tempfile::tempdir().expect("a directory");
        let store = Store::at(Utf8Path::from_path(scratch.path()).expect("UTF-8"));
        let supervisor = Supervisor::new().expect("a supervisor");
        let kept = RetainedMachines::listen(&store, &supervisor).expect("it listens");
        let mut stream = BufReader::new(UnixStream::connect(&kept.socket).await.expect("connected"));
        stream.write_all(b"stop nobody\n").await.expect("asked");
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("answered");
        assert_eq!(line, "unknown\n");
        assert!(kept.is_empty());
        kept.stop_all().await;
    }
}
