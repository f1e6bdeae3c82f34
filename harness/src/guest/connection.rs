// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::session::{Session, Target, closed};
use super::wire::Patience;
use super::{Command, GuestError, Output, Transcript, words};

/// How long a connection that the harness itself cut may take to be made again.
const AGAIN: Duration = Duration::from_secs(20);

/// The system inside a machine, reached over SSH.
///
/// One worker thread with one session stands behind it and serves one command at a time, in the
/// order of the calls. A command that overruns its time-out is given up by shutting the socket
/// down; the next command gets a new connection. A connection that the *guest* ended stays ended,
/// with an error for every command, until [`Guest::reconnect`]: a guest that went away by itself
/// is news. Dropping a `Guest` ends its thread and its connection.
pub struct Guest {
    address: SocketAddr,
    factor: f64,
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// shut down to wake the worker
    socket: Mutex<Option<TcpStream>>,
    host_key: Mutex<Option<String>>,
    /// why the connection broke off, since it was made last
    lost: Mutex<Option<String>>,
    transcripts: Mutex<Vec<Transcript>>,
}

enum Job {
    Open { limit: Duration, reply: oneshot::Sender<Result<(), GuestError>> },
    Run { command: Command, reply: oneshot::Sender<Result<Output, GuestError>> },
    Close { reply: oneshot::Sender<()> },
}

impl Guest {
    /// Connects to a forwarded SSH port and logs in. While the port refuses or the handshake is
    /// not answered it is tried again, for `limit` at most.
    ///
    /// # Errors
    /// The last real error, by phase.
    pub async fn connect(
        address: SocketAddr,
        user: &str,
        key: &ssh_key::PrivateKey,
        limit: Duration,
    ) -> Result<Self, GuestError> {
        Self::connect_to(address, user, key, None, limit).await
    }

    /// The same, to a guest whose host key is known already; see [`Guest::host_key`].
    ///
    /// # Errors
    /// As [`Guest::connect`], and another host key.
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
        let worker =
            Worker { target, shared: Arc::clone(&shared), link: Link::Gone("it was never opened".into()) };
        thread::Builder::new()
            .name(format!("ssh-{}", address.port()))
            .spawn(move || worker.work(&inbox))
            .map_err(|source| GuestError::Connect { address, attempts: 0, source })?;
        let guest = Self { address, factor: 1.0, jobs, shared };
        guest.reconnect(limit).await?;
        Ok(guest)
    }

    /// The same guest with every command's time-out multiplied: time-outs are given for hardware
    /// acceleration, and a translated guest is slower by a measured factor.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// Of the guest's SSH port, on the host.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// SHA-256 of the guest's host key, as OpenSSH writes it.
    pub fn host_key(&self) -> Option<String> {
        locked(&self.shared.host_key).clone()
    }

    /// Runs a command to its end. A status other than 0 is no error.
    ///
    /// # Errors
    /// The guest could not be asked, or the command did not end within its time-out.
    pub async fn run(&self, command: Command) -> Result<Output, GuestError> {
        let command = Command { timeout: command.timeout.mul_f64(self.factor), ..command };
        let started = Instant::now();
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send(Job::Run { command: command.clone(), reply });
        let result = match sent {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.gone())),
            Err(_) => Err(self.gone()),
        };
        tracing::debug!(
            command = %command.line,
            result = %match &result { Ok(output) => output.exit.to_string(), Err(error) => words(error) },
            "guest"
        );
        let transcript = Transcript::of(&command, &result, started.elapsed());
        locked(&self.shared.transcripts).push(transcript);
        result
    }

    /// Makes a new connection, as is needed after a reboot. The guest must have the host key that
    /// it had on the first one.
    ///
    /// # Errors
    /// As [`Guest::connect`], and another host key.
    pub async fn reconnect(&self, limit: Duration) -> Result<(), GuestError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Open { limit, reply }).map_err(|_| self.gone())?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Ends the connection and returns when it is ended.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(Job::Close { reply }).is_ok() && answer.await.is_err() {
            tracing::debug!(address = %self.address, "the worker of this guest is gone");
        }
    }

    /// Why the connection is no more, if it broke off under a command.
    pub fn lost(&self) -> Option<String> {
        locked(&self.shared.lost).clone()
    }

    /// Every command so far with its output, in order.
    pub fn transcripts(&self) -> Vec<Transcript> {
        locked(&self.shared.transcripts).clone()
    }

    /// Every command since the last call of this, with its output, in order.
    pub fn take_transcripts(&self) -> Vec<Transcript> {
        std::mem::take(&mut *locked(&self.shared.transcripts))
    }

    fn gone(&self) -> GuestError {
        closed(self.address, "its worker is gone")
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guest").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // The inbox closes with `jobs`; this ends the wait of a worker that is amid a command.
        if let Some(socket) = locked(&self.shared.socket).take()
            && let Err(error) = socket.shutdown(Shutdown::Both)
        {
            tracing::trace!(%error, "the socket was shut down already");
        }
    }
}

/// What the worker has in hand.
enum Link {
    Up(Session),
    /// cut by the harness, to end a command; made again when next needed
    Cut,
    /// not there, and why
    Gone(String),
}

struct Worker {
    target: Target,
    shared: Arc<Shared>,
    link: Link,
}

impl Worker {
    fn work(mut self, inbox: &Receiver<Job>) {
        while let Ok(job) = inbox.recv() {
            match job {
                Job::Open { limit, reply } => {
                    self.link = Link::Gone("it could not be made again".into());
                    let result = self.open(Patience::new(limit, &|| reply.is_closed()));
                    discard(reply.send(result));
                }
                Job::Run { command, reply } => {
                    let result = self.run(&command, &|| reply.is_closed());
                    discard(reply.send(result));
                }
                Job::Close { reply } => {
                    self.link = Link::Gone("the harness closed it".into());
                    discard(reply.send(()));
                }
            }
        }
    }

    fn open(&mut self, patience: Patience<'_>) -> Result<(), GuestError> {
        let known = locked(&self.shared.host_key).clone();
        let session = Session::open(&self.target, known.as_deref(), patience)?;
        *locked(&self.shared.host_key) = Some(session.host_key().to_owned());
        *locked(&self.shared.socket) = session.socket();
        *locked(&self.shared.lost) = None;
        self.link = Link::Up(session);
        Ok(())
    }

    fn run(&mut self, command: &Command, abandoned: &dyn Fn() -> bool) -> Result<Output, GuestError> {
        if abandoned() {
            return Err(closed(self.target.address, "whoever asked no longer waits for the answer"));
        }
        if matches!(self.link, Link::Cut) {
            self.open(Patience::new(AGAIN, abandoned))?;
        }
        let session = match &self.link {
            Link::Up(session) => session,
            Link::Cut => return Err(closed(self.target.address, "it was cut")),
            Link::Gone(reason) => return Err(closed(self.target.address, reason)),
        };
        let result = session.run(command, Patience::new(command.timeout, abandoned));
        match &result {
            Ok(_) => {}
            Err(error @ GuestError::Lost { .. }) => {
                *locked(&self.shared.lost) = Some(words(error));
                self.link = Link::Gone(words(error));
            }
            Err(_) => self.link = Link::Cut,
        }
        result
    }
}

/// An answer that nobody waits for any more is thrown away.
fn discard<T>(_sent: Result<(), T>) {}

/// Nothing is done under these locks that could panic half-way.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
