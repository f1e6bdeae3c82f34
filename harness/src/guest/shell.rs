// SPDX-License-Identifier: Apache-2.0
//! A person in a guest: this process's terminal tied to a shell of it.
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use super::escape::{Escape, Said};
use super::session::{Session, Target};
use super::wire::{Patience, Stop, Wire};
use super::{Exit, GuestError, Partial, Phase};

/// How long a wait sleeps before it looks at the size of the window, and whether it shall end.
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// How long each request to open the shell may take.
const OPENING: Duration = Duration::from_mins(5);

/// How a person left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// the shell or the command ended
    Ended(Exit),
    /// with `~.`, or since this process was told to end
    Disconnected,
}

/// Logs in and ties standard input and output to a shell of the guest, or to a command, until it
/// ends. Where standard input is a terminal the guest gets one of the same kind and size, and
/// `~.` at the beginning of a line leaves, whatever the guest does.
///
/// It blocks, and is to be called where that does no harm. `ended` is asked ten times a second
/// whether it shall give up.
///
/// # Errors
/// The guest cannot be reached, or the connection is lost.
pub fn shell(
    address: SocketAddr,
    user: &str,
    key: &ssh_key::PrivateKey,
    command: Option<&str>,
    limit: Duration,
    ended: &dyn Fn() -> bool,
) -> Result<Left, GuestError> {
    let target = Target { address, user: user.to_owned(), key: key.clone() };
    let session = Session::open(&target, None, Patience::new(limit, ended))?;
    let mut phase = Phase::Open;
    let left = converse(session.wire(), command, ended, &mut phase);
    left.map_err(|source| GuestError::Lost {
        address,
        phase,
        command: command.unwrap_or("a shell").to_owned(),
        partial: Partial::default(),
        source,
    })
}

fn converse(
    wire: &Wire,
    command: Option<&str>,
    ended: &dyn Fn() -> bool,
    phase: &mut Phase,
) -> io::Result<Left> {
    let patience = || Patience::new(OPENING, ended);
    let mut channel = wire.until(patience(), || wire.ssh.channel_session()).map_err(words)?;
    *phase = Phase::Execute;
    // A command gets no terminal, so that its output comes as it was written.
    let on_terminal = command.is_none() && isatty(io::stdin());
    let mut size = on_terminal.then(window).flatten();
    if on_terminal {
        let kind = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
        let dimensions = size.map(|(columns, rows)| (columns, rows, 0, 0));
        wire.until(patience(), || channel.request_pty(&kind, None, dimensions)).map_err(words)?;
    }
    match command {
        Some(command) => wire.until(patience(), || channel.exec(command)).map_err(words)?,
        None => wire.until(patience(), || channel.shell()).map_err(words)?,
    }
    *phase = Phase::Transfer;
    let _raw = if on_terminal { Raw::set()? } else { None };
    let mut input = Input::new(on_terminal);
    loop {
        if ended() {
            return Ok(Left::Disconnected);
        }
        if size.is_some() && window() != size {
            size = window();
            if let Some((columns, rows)) = size {
                let resize = || channel.request_pty_size(columns, rows, None, None);
                wire.until(patience(), resize).map_err(words)?;
            }
        }
        let moved = show(&mut channel)?;
        if channel.eof() {
            break;
        }
        input.give(&mut channel)?;
        // What waits to be given goes as soon as the guest takes it; nothing else is read meanwhile.
        let wants = input.wants_more();
        let ready = wait(wire, wants, moved)?;
        if wants && ready && input.read()? == Said::Leave {
            return Ok(Left::Disconnected);
        }
    }
    *phase = Phase::Status;
    wire.until(patience(), || channel.close()).map_err(words)?;
    wire.until(patience(), || channel.wait_close()).map_err(words)?;
    // A command killed by a signal has the exit status 0 with this library.
    match channel.exit_signal()?.exit_signal {
        Some(signal) => Ok(Left::Ended(Exit::Signal(signal))),
        None => Ok(Left::Ended(Exit::Status(channel.exit_status()?))),
    }
}

/// Waits for the guest or, where it is wanted, for the person, and says whether the latter has
/// something to say. After something was shown there may be more, and it does not wait.
fn wait(wire: &Wire, wants_input: bool, moved: bool) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut places = vec![PollFd::new(wire.socket(), PollFlags::IN)];
    if wants_input {
        places.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
    }
    let slice = if moved { Timespec { tv_sec: 0, tv_nsec: 0 } } else { SLICE };
    match poll(&mut places, Some(&slice)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(places.get(1).is_some_and(|place| !place.revents().is_empty()))
}

/// Shows what the guest has said, and tells whether that was anything.
fn show(channel: &mut ssh2::Channel) -> io::Result<bool> {
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

/// What the person says, on its way to the guest.
struct Input {
    pending: Vec<u8>,
    escape: Option<Escape>,
    /// standard input is at its end, which the guest is to be told
    closed: bool,
    told: bool,
}

impl Input {
    fn new(on_terminal: bool) -> Self {
        let escape = on_terminal.then(Escape::default);
        Self { pending: Vec::new(), escape, closed: false, told: false }
    }

    fn wants_more(&self) -> bool {
        self.pending.is_empty() && !self.closed
    }

    /// Reads what is there; the caller knows that there is something.
    fn read(&mut self) -> io::Result<Said> {
        let mut buffer = [0; 4096];
        let count = rustix::io::read(io::stdin(), &mut buffer)?;
        self.closed = count == 0;
        let typed = &buffer[..count];
        if let Some(escape) = &mut self.escape {
            return Ok(escape.filter(typed, &mut self.pending));
        }
        self.pending.extend_from_slice(typed);
        Ok(Said::Words)
    }

    /// Gives what the guest takes at the moment.
    fn give(&mut self, channel: &mut ssh2::Channel) -> io::Result<()> {
        while !self.pending.is_empty() {
            match channel.write(&self.pending) {
                Ok(0) => return Ok(()),
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.closed && !self.told {
            match channel.send_eof().map_err(io::Error::from) {
                Ok(()) => self.told = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The terminal hands on every byte as it is typed while this lives.
struct Raw {
    before: Termios,
}

impl Raw {
    fn set() -> io::Result<Option<Self>> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &self.before) {
            tracing::debug!(%error, "the terminal is gone");
        }
    }
}

/// The terminal's columns and rows.
fn window() -> Option<(u32, u32)> {
    let Winsize { ws_col, ws_row, .. } = tcgetwinsize(io::stdin()).ok()?;
    (ws_col > 0 && ws_row > 0).then(|| (u32::from(ws_col), u32::from(ws_row)))
}

fn words(stop: Stop) -> io::Error {
    match stop {
        Stop::Late => io::Error::from(io::ErrorKind::TimedOut),
        Stop::Abandoned => io::Error::from(io::ErrorKind::Interrupted),
        Stop::Failed(error) => error,
    }
}
