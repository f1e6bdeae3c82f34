// SPDX-License-Identifier: Apache-2.0
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a wait sleeps before it checks for cancellation.
const SLICE: Duration = Duration::from_millis(25);

/// The deadline of an operation, and whether its caller has cancelled it.
#[derive(Clone, Copy)]
pub(super) struct Deadline<'a> {
    pub(super) time: Instant,
    pub(super) cancelled: &'a dyn Fn() -> bool,
}

/// Why an operation did not complete.
#[derive(Debug)]
pub(super) enum WaitError {
    /// the deadline passed
    TimedOut,
    /// the caller cancelled it
    Cancelled,
    /// the connection failed
    Failed(io::Error),
}

impl From<io::Error> for WaitError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Deadline<'a> {
    pub(super) fn new(limit: Duration, cancelled: &'a dyn Fn() -> bool) -> Self {
        Self { time: Instant::now() + limit, cancelled }
    }

    /// The time that is left.
    pub(super) fn left(&self) -> Duration {
        self.time.saturating_duration_since(Instant::now())
    }

    /// The same deadline, but at most `limit` from now.
    pub(super) fn at_most(self, limit: Duration) -> Self {
        Self { time: self.time.min(Instant::now() + limit), ..self }
    }

    fn check(&self) -> Result<(), WaitError> {
        if (self.cancelled)() {
            Err(WaitError::Cancelled)
        } else if self.left().is_zero() {
            Err(WaitError::TimedOut)
        } else {
            Ok(())
        }
    }
}

/// A socket with the SSH library in its non-blocking mode, in which deadlines are exact in every phase.
pub(super) struct NonBlockingSsh {
    pub(super) library: ssh2::Session,
    socket: TcpStream,
}

impl NonBlockingSsh {
    pub(super) fn new(socket: TcpStream) -> io::Result<Self> {
        // A command is a dozen small packets: Nagle's algorithm would double its duration.
        socket.set_nodelay(true)?;
        let mut library = ssh2::Session::new()?;
        library.set_tcp_stream(socket.try_clone()?);
        library.set_blocking(false);
        Ok(Self { library, socket })
    }

    /// Repeats a call of the SSH library until it no longer returns `WouldBlock`.
    pub(super) fn until<T, E: Into<io::Error>>(
        &self,
        deadline: Deadline<'_>,
        mut call: impl FnMut() -> Result<T, E>,
    ) -> Result<T, WaitError> {
        loop {
            match call().map_err(Into::into) {
                Ok(value) => return Ok(value),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(deadline)?,
                Err(error) => return Err(WaitError::Failed(error)),
            }
        }
    }

    /// Waits until the socket is ready for the next operation of the library.
    pub(super) fn wait(&self, deadline: Deadline<'_>) -> Result<(), WaitError> {
        deadline.check()?;
        let mut events = PollFlags::IN;
        if matches!(
            self.library.block_directions(),
            ssh2::BlockDirections::Outbound | ssh2::BlockDirections::Both
        ) {
            events |= PollFlags::OUT;
        }
        let slice = Timespec::try_from(deadline.left().min(SLICE)).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.socket, events)], Some(&slice)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(WaitError::Failed(error.into())),
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl Drop for NonBlockingSsh {
    fn drop(&mut self) {
        // Otherwise the library would send a disconnect message and wait for an answer.
        if let Err(error) = self.socket.shutdown(std::net::Shutdown::Both) {
            tracing::trace!(%error, "the socket was shut down already");
        }
        // The library frees its memory in blocking mode only. On a socket that is shut down, it does not block.
        self.library.set_blocking(true);
        self.library.set_timeout(1000);
    }
}
