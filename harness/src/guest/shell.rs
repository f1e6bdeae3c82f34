// SPDX-License-Identifier: Apache-2.0
//! An interactive shell in a guest, on this process's terminal.
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use super::command::Exit;
use super::error::{GuestError, Partial, Phase};
use super::escape::{EscapeFilter, Typed};
use super::nonblocking::{Deadline, NonBlockingSsh, WaitError};
use super::session::{Session, Target};
use loadgauge_host::environment;

/// How long a wait sleeps before it checks the size of the window and `ended`.
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The limit of each request to open the shell.
const OPENING: Duration = Duration::from_mins(5);

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEnd {
    /// the shell or the command ended
    Ended(Exit),
    /// by `~.`, or by `ended`
    Disconnected,
}

/// Logs in and connects standard input and output to a shell of the guest, or to a command, until it ends. If
/// standard input is a terminal, the guest gets a terminal of the same kind and size, and `~.` at the beginning
/// of a line disconnects.
///
/// This function blocks. It calls `ended` ten times a second, and disconnects when that returns true.
///
/// # Errors
/// The guest cannot be reached, or the connection fails.
pub fn shell(
    address: SocketAddr,
    user: &str,
    key: &ssh_key::PrivateKey,
    command: Option<&str>,
    limit: Duration,
    ended: &dyn Fn() -> bool,
) -> Result<SessionEnd, GuestError> {
    let target = Target { address, user: user.to_owned(), key: key.clone() };
    let session = Session::open(&target, None, Deadline::new(limit, ended))?;
    let mut phase = Phase::Open;
    let result = run(session.ssh(), command, ended, &mut phase);
    result.map_err(|source| GuestError::Lost {
        address,
        phase,
        command: command.unwrap_or("a shell").to_owned(),
        partial: Partial::default(),
        source,
    })
}

fn run(
    ssh: &NonBlockingSsh,
    command: Option<&str>,
    ended: &dyn Fn() -> bool,
    phase: &mut Phase,
) -> io::Result<SessionEnd> {
    let deadline = || Deadline::new(OPENING, ended);
    let mut channel = ssh.until(deadline(), || ssh.library.channel_session()).map_err(io_error)?;
    *phase = Phase::Execute;
    // A command gets no terminal, which would change its output.
    let on_terminal = command.is_none() && isatty(io::stdin());
    let mut size = on_terminal.then(window).flatten();
    if on_terminal {
        let kind = environment::value(environment::TERM).unwrap_or_else(|| "dumb".to_owned());
        let dimensions = size.map(|(columns, rows)| (columns, rows, 0, 0));
        ssh.until(deadline(), || channel.request_pty(&kind, None, dimensions)).map_err(io_error)?;
    }
    match command {
        Some(command) => ssh.until(deadline(), || channel.exec(command)).map_err(io_error)?,
        None => ssh.until(deadline(), || channel.shell()).map_err(io_error)?,
    }
    *phase = Phase::Transfer;
    let _raw = if on_terminal { RawMode::set()? } else { None };
    let mut input = Input::new(on_terminal);
    loop {
        if ended() {
            return Ok(SessionEnd::Disconnected);
        }
        if size.is_some() && window() != size {
            size = window();
            if let Some((columns, rows)) = size {
                let resize = || channel.request_pty_size(columns, rows, None, None);
                ssh.until(deadline(), resize).map_err(io_error)?;
            }
        }
        let received = print_output(&mut channel)?;
        if channel.eof() {
            break;
        }
        input.send(&mut channel)?;
        // No further input is read until the guest accepts the pending one.
        let wants = input.wants_more();
        let ready = wait(ssh, wants, received)?;
        if wants && ready && input.read()? == Typed::Disconnect {
            return Ok(SessionEnd::Disconnected);
        }
    }
    *phase = Phase::Status;
    ssh.until(deadline(), || channel.close()).map_err(io_error)?;
    ssh.until(deadline(), || channel.wait_close()).map_err(io_error)?;
    // The library reports status 0 for a command that a signal killed.
    match channel.exit_signal()?.exit_signal {
        Some(signal) => Ok(SessionEnd::Ended(Exit::Signal(signal))),
        None => Ok(SessionEnd::Ended(Exit::Status(channel.exit_status()?))),
    }
}

/// Waits for output of the guest or, if wanted, for input. Returns whether there is input. It does not wait
/// after output was received, because there may be more.
fn wait(ssh: &NonBlockingSsh, wants_input: bool, received: bool) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut descriptors = vec![PollFd::new(ssh.socket(), PollFlags::IN)];
    if wants_input {
        descriptors.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
    }
    let slice = if received { Timespec { tv_sec: 0, tv_nsec: 0 } } else { SLICE };
    match poll(&mut descriptors, Some(&slice)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(descriptors.get(1).is_some_and(|stdin| !stdin.revents().is_empty()))
}

/// Prints the available output of the guest. Returns whether there was any.
fn print_output(channel: &mut ssh2::Channel) -> io::Result<bool> {
    let out = copy(&mut channel.stream(0), &mut io::stdout())?;
    let err = copy(&mut channel.stderr(), &mut io::stderr())?;
    Ok(out || err)
}

fn copy(from: &mut ssh2::Stream, to: &mut dyn io::Write) -> io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    match from.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(count) => {
            to.write_all(&buffer[..count])?;
            to.flush()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Input on its way to the guest.
struct Input {
    pending: Vec<u8>,
    escape: Option<EscapeFilter>,
    /// standard input has ended
    closed: bool,
    /// the end was sent to the guest
    eof_sent: bool,
}

impl Input {
    fn new(on_terminal: bool) -> Self {
        let escape = on_terminal.then(EscapeFilter::default);
        Self { pending: Vec::new(), escape, closed: false, eof_sent: false }
    }

    fn wants_more(&self) -> bool {
        self.pending.is_empty() && !self.closed
    }

    /// Reads the available input; the caller has checked that there is some.
    fn read(&mut self) -> io::Result<Typed> {
        let mut buffer = [0; 4096];
        let count = rustix::io::read(io::stdin(), &mut buffer)?;
        self.closed = count == 0;
        let typed = &buffer[..count];
        if let Some(escape) = &mut self.escape {
            return Ok(escape.filter(typed, &mut self.pending));
        }
        self.pending.extend_from_slice(typed);
        Ok(Typed::Input)
    }

    /// Sends what the guest accepts at the moment.
    fn send(&mut self, channel: &mut ssh2::Channel) -> io::Result<()> {
        while !self.pending.is_empty() {
            match channel.write(&self.pending) {
                Ok(0) => return Ok(()),
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.closed && !self.eof_sent {
            match channel.send_eof().map_err(io::Error::from) {
                Ok(()) => self.eof_sent = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Keeps the terminal in raw mode until it is dropped.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn set() -> io::Result<Option<Self>> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &self.before) {
            tracing::debug!(%error, "cannot reset the terminal");
        }
    }
}

/// The columns and rows of the terminal.
fn window() -> Option<(u32, u32)> {
    let Winsize { ws_col, ws_row, .. } = tcgetwinsize(io::stdin()).ok()?;
    (ws_col > 0 && ws_row > 0).then(|| (u32::from(ws_col), u32::from(ws_row)))
}

fn io_error(error: WaitError) -> io::Error {
    match error {
        WaitError::TimedOut => io::Error::from(io::ErrorKind::TimedOut),
        WaitError::Cancelled => io::Error::from(io::ErrorKind::Interrupted),
        WaitError::Failed(error) => error,
    }
}
