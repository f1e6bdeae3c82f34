// SPDX-License-Identifier: Apache-2.0
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a wait sleeps before it looks whether anybody still wants the answer.
const SLICE: Duration = Duration::from_millis(25);

/// How long an answer is waited for, and whether anybody still wants it.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    pub(super) deadline: Instant,
    pub(super) abandoned: &'a dyn Fn() -> bool,
}

/// Why waiting ended without an answer.
#[derive(Debug)]
pub(super) enum Stop {
    /// the deadline passed
    Late,
    /// nobody waits for the answer any more
    Abandoned,
    /// the connection says no
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Patience<'a> {
    pub(super) fn new(limit: Duration, abandoned: &'a dyn Fn() -> bool) -> Self {
        Self { deadline: Instant::now() + limit, abandoned }
    }

    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The same, but no longer than `limit` from now.
    pub(super) fn at_most(self, limit: Duration) -> Self {
        Self { deadline: self.deadline.min(Instant::now() + limit), ..self }
    }

    fn check(&self) -> Result<(), Stop> {
        if (self.abandoned)() {
            Err(Stop::Abandoned)
        } else if self.left().is_zero() {
            Err(Stop::Late)
        } else {
            Ok(())
        }
    }
}

/// A socket and the SSH library's state machine on it, which is used without ever blocking: only so
/// does a deadline hold to the millisecond in every phase.
pub(super) struct Wire {
    pub(super) ssh: ssh2::Session,
    socket: TcpStream,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> io::Result<Self> {
        // A command is a dozen small packets: Nagle's algorithm would double its time.
        socket.set_nodelay(true)?;
        let mut ssh = ssh2::Session::new()?;
        ssh.set_tcp_stream(socket.try_clone()?);
        ssh.set_blocking(false);
        Ok(Self { ssh, socket })
    }

    /// Repeats a call of the SSH library until it no longer says that it would block.
    pub(super) fn until<T, E: Into<io::Error>>(
        &self,
        patience: Patience<'_>,
        mut call: impl FnMut() -> Result<T, E>,
    ) -> Result<T, Stop> {
        loop {
            match call().map_err(Into::into) {
                Ok(value) => return Ok(value),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(patience)?,
                Err(error) => return Err(Stop::Failed(error)),
            }
        }
    }

    /// Sleeps until the socket is ready for what the library wants to do next.
    pub(super) fn wait(&self, patience: Patience<'_>) -> Result<(), Stop> {
        patience.check()?;
        let mut events = PollFlags::IN;
        if matches!(
            self.ssh.block_directions(),
            ssh2::BlockDirections::Outbound | ssh2::BlockDirections::Both
        ) {
            events |= PollFlags::OUT;
        }
        let slice = Timespec::try_from(patience.left().min(SLICE)).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.socket, events)], Some(&slice)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Stop::Failed(error.into())),
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Without this the library would say goodbye and wait for an answer.
        if let Err(error) = self.socket.shutdown(std::net::Shutdown::Both) {
            tracing::trace!(%error, "the socket was shut down already");
        }
        // The library frees its memory only where it may block; on a dead socket it does not.
        self.ssh.set_blocking(true);
        self.ssh.set_timeout(1000);
    }
}
