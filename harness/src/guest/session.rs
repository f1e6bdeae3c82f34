// SPDX-License-Identifier: Apache-2.0
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::command::{Command, Exit, Output};
use super::error::{GuestError, Partial, Phase, closed};
use super::nonblocking::{Deadline, NonBlockingSsh, WaitError};

/// The limit of a command's output, in bytes of both streams together.
const MOST: usize = 64 * 1024 * 1024;
/// The limit of the first attempt to connect, which is doubled for each further one. QEMU accepts connections
/// to a forwarded port before the guest has a network, and those never get an answer.
const FIRST_ATTEMPT: Duration = Duration::from_secs(5);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The server, and the user to log in as.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) user: String,
    /// the private key; never written to a disk
    pub(super) key: ssh_key::private::PrivateKey,
}

/// An SSH connection with a logged-in user, for one command at a time.
pub(super) struct Session {
    address: SocketAddr,
    ssh: NonBlockingSsh,
    host_key: String,
}

impl Session {
    /// Connects and logs in. Refused connections and handshakes without an answer are retried; the guest's
    /// answer to the key is final.
    pub(super) fn open(
        target: &Target,
        host_key: Option<&str>,
        deadline: Deadline<'_>,
    ) -> Result<Self, GuestError> {
        let mut attempts = 0;
        let mut pause = Duration::from_millis(50);
        let mut last = None;
        loop {
            attempts += 1;
            let cap = FIRST_ATTEMPT.saturating_mul(1 << (attempts - 1).min(4));
            let error = match Self::attempt(target, host_key, deadline.at_most(cap), attempts) {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            let early = matches!(error.phase(), Some(Phase::Connect | Phase::Handshake))
                && !matches!(error, GuestError::HostKey { .. });
            // A busy guest may exceed the limit of the first attempts in any phase.
            let again = early || matches!(error, GuestError::TimedOut { .. });
            if !again || (deadline.cancelled)() {
                return Err(error);
            }
            // A time-out says less than the error of the attempt before it.
            last = match (error, last) {
                (GuestError::TimedOut { .. }, Some(before)) => Some(before),
                (error, _) => Some(error),
            };
            if deadline.left() <= pause {
                return Err(last.unwrap_or_else(|| closed(target.address, "it was never opened")));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn attempt(
        target: &Target,
        host_key: Option<&str>,
        deadline: Deadline<'_>,
        attempts: u32,
    ) -> Result<Self, GuestError> {
        let address = target.address;
        let started = Instant::now();
        let late = |phase: Phase| GuestError::TimedOut {
            address,
            phase,
            what: format!("phase {phase}"),
            after: started.elapsed(),
            partial: Partial::default(),
        };
        let refused = |source| GuestError::Connect { address, attempts, source };
        // `connect_timeout` rejects a duration of zero.
        let limit = deadline.left().max(Duration::from_millis(1));
        let socket = match TcpStream::connect_timeout(&address, limit) {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(late(Phase::Connect)),
            Err(error) => return Err(refused(error)),
        };
        let ssh = NonBlockingSsh::new(socket).map_err(refused)?;
        let mut library = ssh.library.clone();
        ssh.until(deadline, || library.handshake()).map_err(|error| match error {
            WaitError::TimedOut => late(Phase::Handshake),
            WaitError::Cancelled => cancelled(address),
            WaitError::Failed(source) => GuestError::Handshake { address, attempts, source },
        })?;
        let found = fingerprint(&ssh);
        if let Some(expected) = host_key
            && expected != found
        {
            return Err(GuestError::HostKey { address, expected: expected.to_owned(), found });
        }
        log_in(&ssh, target, deadline, &late)?;
        Ok(Self { address, ssh, host_key: found })
    }

    /// The fingerprint of the host key (SHA-256, in OpenSSH's format).
    pub(super) fn host_key(&self) -> &str {
        &self.host_key
    }

    /// The connection.
    pub(super) fn ssh(&self) -> &NonBlockingSsh {
        &self.ssh
    }

    /// Another handle to the socket, to shut it down from another thread.
    pub(super) fn socket(&self) -> Option<TcpStream> {
        self.ssh.socket().try_clone().ok()
    }

    /// Runs a command to its end. After an error, the session must not be used again.
    pub(super) fn run(&self, command: &Command, deadline: Deadline<'_>) -> Result<Output, GuestError> {
        let started = Instant::now();
        let mut partial = Partial::default();
        let mut phase = Phase::Open;
        match self.execute(command, deadline, &mut phase, &mut partial) {
            Ok(exit) => {
                let Partial { stdout, stderr } = partial;
                Ok(Output { exit, stdout, stderr, duration: started.elapsed() })
            }
            Err(error) => Err(self.failure(error, phase, command, partial)),
        }
    }

    fn execute(
        &self,
        command: &Command,
        deadline: Deadline<'_>,
        phase: &mut Phase,
        partial: &mut Partial,
    ) -> Result<Exit, WaitError> {
        let ssh = &self.ssh;
        let mut channel = ssh.until(deadline, || ssh.library.channel_session())?;
        *phase = Phase::Execute;
        ssh.until(deadline, || channel.exec(&command.line))?;
        *phase = Phase::Transfer;
        self.transfer(&mut channel, &command.input, deadline, partial)?;
        *phase = Phase::Status;
        ssh.until(deadline, || channel.close())?;
        ssh.until(deadline, || channel.wait_close())?;
        // The library reports status 0 for a command that a signal killed.
        match channel.exit_signal().map_err(io::Error::from)?.exit_signal {
            Some(signal) => Ok(Exit::Signal(signal)),
            None => Ok(Exit::Status(channel.exit_status().map_err(io::Error::from)?)),
        }
    }

    /// Sends the input and receives both outputs in turns: a channel stalls when the window of an unread
    /// stream is full.
    fn transfer(
        &self,
        channel: &mut ssh2::Channel,
        input: &[u8],
        deadline: Deadline<'_>,
        partial: &mut Partial,
    ) -> Result<(), WaitError> {
        let mut buffer = vec![0; 64 * 1024];
        let mut unsent = Some(0);
        while !channel.eof() {
            let mut moved = false;
            if let Some(offset) = unsent {
                unsent = match send(channel, &input[offset..])? {
                    Some(Sent::Bytes(count)) => {
                        moved = true;
                        Some(offset + count)
                    }
                    Some(Sent::Eof) => None,
                    None => Some(offset),
                };
            }
            moved |= receive(channel.stream(0), &mut buffer, &mut partial.stdout)?;
            moved |= receive(channel.stderr(), &mut buffer, &mut partial.stderr)?;
            if partial.stdout.len() + partial.stderr.len() > MOST {
                return Err(WaitError::Failed(io::Error::from(io::ErrorKind::FileTooLarge)));
            }
            // The deadline also applies to a command that never stops printing.
            if moved && !deadline.left().is_zero() {
                continue;
            }
            if !channel.eof() {
                self.ssh.wait(deadline)?;
            }
        }
        Ok(())
    }

    fn failure(&self, error: WaitError, phase: Phase, command: &Command, partial: Partial) -> GuestError {
        let address = self.address;
        match error {
            WaitError::TimedOut => GuestError::TimedOut {
                address,
                phase,
                what: format!("`{}`", command.line),
                after: command.timeout,
                partial,
            },
            WaitError::Cancelled => cancelled(address),
            WaitError::Failed(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                GuestError::TooMuch { command: command.line.clone(), limit: MOST, partial }
            }
            WaitError::Failed(source) => {
                GuestError::Lost { address, phase, command: command.line.clone(), partial, source }
            }
        }
    }
}

fn log_in(
    ssh: &NonBlockingSsh,
    target: &Target,
    deadline: Deadline<'_>,
    late: &dyn Fn(Phase) -> GuestError,
) -> Result<(), GuestError> {
    let address = target.address;
    let key = target.key.to_openssh(ssh_key::LineEnding::LF).map_err(|source| GuestError::Key { source })?;
    let library = &ssh.library;
    ssh.until(deadline, || library.userauth_pubkey_memory(&target.user, None, &key, None)).map_err(|error| {
        match error {
            WaitError::TimedOut => late(Phase::Authenticate),
            WaitError::Cancelled => cancelled(address),
            WaitError::Failed(source) => {
                GuestError::Authenticate { address, user: target.user.clone(), source }
            }
        }
    })
}

/// What was sent of the input.
enum Sent {
    Bytes(usize),
    /// the end of the input
    Eof,
}

/// Sends a part of the input, or its end. Returns nothing if the guest accepts nothing at the moment; the
/// same input must then be sent again.
fn send(channel: &mut ssh2::Channel, input: &[u8]) -> Result<Option<Sent>, WaitError> {
    let result = if input.is_empty() {
        channel.send_eof().map(|()| Sent::Eof).map_err(io::Error::from)
    } else {
        channel.write(input).map(Sent::Bytes)
    };
    match result {
        // The window is closed until the command reads.
        Ok(Sent::Bytes(0)) => Ok(None),
        Ok(sent) => Ok(Some(sent)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(WaitError::Failed(error)),
    }
}

/// Receives what is available of a stream. Returns whether there was anything.
fn receive(mut stream: ssh2::Stream, buffer: &mut [u8], into: &mut Vec<u8>) -> Result<bool, WaitError> {
    match stream.read(buffer) {
        Ok(0) => Ok(false),
        Ok(count) => {
            into.extend_from_slice(&buffer[..count]);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(WaitError::Failed(error)),
    }
}

fn fingerprint(ssh: &NonBlockingSsh) -> String {
    match ssh.library.host_key_hash(ssh2::HashType::Sha256) {
        Some(hash) => format!("SHA256:{}", STANDARD_NO_PAD.encode(hash)),
        None => "none".to_owned(),
    }
}

/// The error of a cancelled command, whose caller is gone.
fn cancelled(address: SocketAddr) -> GuestError {
    closed(address, "the command was cancelled")
}
