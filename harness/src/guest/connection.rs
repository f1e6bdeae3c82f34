// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use loadgauge_host::error::on_one_line;
use tokio::sync::oneshot;

use super::command::{Command, Output};
use super::error::{GuestError, closed};
use super::nonblocking::Deadline;
use super::session::{Session, Target};

/// The limit for reconnecting after the harness aborted a connection.
const RECONNECT_LIMIT: Duration = Duration::from_secs(20);

/// The system inside a machine, reached over SSH.
///
/// A worker thread with one session runs the commands one at a time, in the order of the calls. If a command
/// exceeds its time-out, the worker shuts the socket down, and reconnects for the next command. If the
/// *guest* closes the connection, every command fails until [`Guest::reconnect`], so that a guest that goes
/// away is noticed. Dropping a `Guest` ends the thread and the connection.
pub struct Guest {
    address: SocketAddr,
    factor: f64,
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

/// What the handle and its worker share.
#[derive(Default)]
struct Shared {
    /// shut down to wake the worker
    socket: Mutex<Option<TcpStream>>,
    host_key: Mutex<Option<String>>,
    /// why the guest closed the connection, since the last time that it was established
    lost: Mutex<Option<String>>,
    /// how many commands exceeded their time-out
    time_outs: AtomicU32,
    /// how many times longer commands may take because of the host, in percent
    slowdown: AtomicU32,
}

enum Job {
    Open { limit: Duration, reply: oneshot::Sender<Result<(), GuestError>> },
    Run { command: Command, reply: oneshot::Sender<Result<Output, GuestError>> },
    Close { reply: oneshot::Sender<()> },
}

impl Guest {
    /// Connects to a forwarded SSH port and logs in. Refused connections and handshakes without an answer
    /// are retried until `limit`.
    ///
    /// # Errors
    /// The error of the last attempt.
    pub async fn connect(
        address: SocketAddr,
        user: &str,
        key: &ssh_key::PrivateKey,
        limit: Duration,
    ) -> Result<Self, GuestError> {
        Self::connect_to(address, user, key, None, limit).await
    }

    /// As [`Guest::connect`], to a guest with a known host key; see [`Guest::host_key`].
    ///
    /// # Errors
    /// As [`Guest::connect`], or the host key differs.
    pub async fn connect_to(
        address: SocketAddr,
        user: &str,
        key: &ssh_key::PrivateKey,
        host_key: Option<&str>,
        limit: Duration,
    ) -> Result<Self, GuestError> {
        let (jobs, inbox) = channel();
        let shared = Arc::new(Shared::default());
        *locked(&shared.host_key) = host_key.map(str::to_owned);
        let target = Target { address, user: user.to_owned(), key: key.clone() };
        let state = ConnectionState::Closed("it was never opened".into());
        let worker = Worker { target, shared: Arc::clone(&shared), state };
        thread::Builder::new()
            .name(format!("ssh-{}", address.port()))
            .spawn(move || worker.work(&inbox))
            .map_err(|source| GuestError::Connect { address, attempts: 0, source })?;
        let guest = Self { address, factor: 1.0, jobs, shared };
        guest.reconnect(limit).await?;
        Ok(guest)
    }

    /// The same guest with a factor for the time-outs of commands, which are given for KVM.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// Multiplies the time-outs of further commands by a factor of the host's load, 1 at least.
    pub fn slow_down(&self, factor: f64) {
        let percent = (factor.clamp(1.0, 100.0) * 100.0).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 100 to 10,000")]
        self.shared.slowdown.store(percent as u32, Ordering::Relaxed);
    }

    /// How many commands have exceeded their time-outs.
    pub fn time_outs(&self) -> u32 {
        self.shared.time_outs.load(Ordering::Relaxed)
    }

    /// The host's address of the guest's SSH port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The fingerprint of the guest's host key (SHA-256, in OpenSSH's format).
    pub fn host_key(&self) -> Option<String> {
        locked(&self.shared.host_key).clone()
    }

    /// Runs a command to its end. An exit status other than 0 is not an error.
    ///
    /// # Errors
    /// The guest does not run the command, or the command does not end within its time-out.
    pub async fn run(&self, command: Command) -> Result<Output, GuestError> {
        let slowdown = f64::from(self.shared.slowdown.load(Ordering::Relaxed).max(100)) / 100.0;
        let timeout = command.timeout.mul_f64(self.factor * slowdown);
        let command = Command { timeout, ..command };
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send(Job::Run { command: command.clone(), reply });
        let result = match sent {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.worker_gone())),
            Err(_) => Err(self.worker_gone()),
        };
        if matches!(result, Err(GuestError::TimedOut { .. })) {
            self.shared.time_outs.fetch_add(1, Ordering::Relaxed);
        }
        tracing::debug!(
            command = %command.line,
            result = %match &result { Ok(output) => output.exit.to_string(), Err(error) => on_one_line(error) },
            "guest"
        );
        result
    }

    /// Establishes a new connection, for example after a reboot. The guest must have the same host key as
    /// before.
    ///
    /// # Errors
    /// As [`Guest::connect`], or the host key differs.
    pub async fn reconnect(&self, limit: Duration) -> Result<(), GuestError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Open { limit, reply }).map_err(|_| self.worker_gone())?;
        answer.await.unwrap_or_else(|_| Err(self.worker_gone()))
    }

    /// Closes the connection and waits until it is closed.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(Job::Close { reply }).is_ok() && answer.await.is_err() {
            tracing::debug!(address = %self.address, "the worker of this guest has ended");
        }
    }

    /// Why the guest closed the connection during a command, if it did.
    pub fn lost(&self) -> Option<String> {
        locked(&self.shared.lost).clone()
    }

    fn worker_gone(&self) -> GuestError {
        closed(self.address, "its worker has ended")
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guest").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Dropping `jobs` ends an idle worker; this ends one that waits for a command.
        if let Some(socket) = locked(&self.shared.socket).take()
            && let Err(error) = socket.shutdown(Shutdown::Both)
        {
            tracing::trace!(%error, "the socket was shut down already");
        }
    }
}

enum ConnectionState {
    Connected(Session),
    /// aborted by the harness to end a command; the next command reconnects
    Aborted,
    /// closed, with the reason
    Closed(String),
}

struct Worker {
    target: Target,
    shared: Arc<Shared>,
    state: ConnectionState,
}

impl Worker {
    fn work(mut self, inbox: &Receiver<Job>) {
        while let Ok(job) = inbox.recv() {
            match job {
                Job::Open { limit, reply } => {
                    self.state = ConnectionState::Closed("it could not be established again".into());
                    let result = self.open(Deadline::new(limit, &|| reply.is_closed()));
                    ignore(reply.send(result));
                }
                Job::Run { command, reply } => {
                    let result = self.run(&command, &|| reply.is_closed());
                    ignore(reply.send(result));
                }
                Job::Close { reply } => {
                    self.state = ConnectionState::Closed("the harness closed it".into());
                    ignore(reply.send(()));
                }
            }
        }
    }

    fn open(&mut self, deadline: Deadline<'_>) -> Result<(), GuestError> {
        let known = locked(&self.shared.host_key).clone();
        let session = Session::open(&self.target, known.as_deref(), deadline)?;
        *locked(&self.shared.host_key) = Some(session.host_key().to_owned());
        *locked(&self.shared.socket) = session.socket();
        *locked(&self.shared.lost) = None;
        self.state = ConnectionState::Connected(session);
        Ok(())
    }

    fn run(&mut self, command: &Command, cancelled: &dyn Fn() -> bool) -> Result<Output, GuestError> {
        let address = self.target.address;
        if cancelled() {
            return Err(closed(address, "the command was cancelled"));
        }
        if matches!(self.state, ConnectionState::Aborted) {
            self.open(Deadline::new(RECONNECT_LIMIT, cancelled))?;
        }
        let session = match &self.state {
            ConnectionState::Connected(session) => session,
            ConnectionState::Aborted => return Err(closed(address, "it was aborted")),
            ConnectionState::Closed(reason) => return Err(closed(address, reason)),
        };
        let result = session.run(command, Deadline::new(command.timeout, cancelled));
        match &result {
            Ok(_) => {}
            Err(error @ GuestError::Lost { .. }) => {
                *locked(&self.shared.lost) = Some(on_one_line(error));
                self.state = ConnectionState::Closed(on_one_line(error));
            }
            Err(_) => self.state = ConnectionState::Aborted,
        }
        result
    }
}

/// Ignores that the receiver of a reply is gone.
fn ignore<T>(_sent: Result<(), T>) {}

/// No code panics under these locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
