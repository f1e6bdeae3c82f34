// SPDX-License-Identifier: Apache-2.0
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::wire::{Patience, Stop, Wire};
use super::{Command, Exit, GuestError, Output, Partial, Phase};

/// How much a command may print before it is given up, in bytes of both streams together.
const MOST: usize = 64 * 1024 * 1024;
/// How long the first try of a connection may take; each further one may take twice as long.
/// QEMU accepts connections to a forwarded port long before the guest has a network, and a
/// connection that was accepted too early never gets an answer.
const FIRST_TRY: Duration = Duration::from_secs(5);
/// Pauses between tries grow to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Whom to reach, as whom.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) user: String,
    /// the private key as OpenSSH writes it; never leaves memory
    pub(super) key: ssh_key::private::PrivateKey,
}

/// An SSH connection with a logged-in user, on which commands are run one after the other.
pub(super) struct Session {
    address: SocketAddr,
    wire: Wire,
    host_key: String,
}

impl Session {
    /// Connects and logs in. Tries again while the port refuses or the handshake is not answered;
    /// what the guest's sshd says about the key is final.
    pub(super) fn open(
        target: &Target,
        host_key: Option<&str>,
        patience: Patience<'_>,
    ) -> Result<Self, GuestError> {
        let mut attempts = 0;
        let mut pause = Duration::from_millis(50);
        let mut last = None;
        loop {
            attempts += 1;
            let cap = FIRST_TRY.saturating_mul(1 << (attempts - 1).min(4));
            let error = match Self::attempt(target, host_key, patience.at_most(cap), attempts) {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            let early = matches!(error.phase(), Some(Phase::Connect | Phase::Handshake))
                && !matches!(error, GuestError::HostKey { .. });
            // A busy guest may need longer than the first tries are given, in any phase.
            let again = early || matches!(error, GuestError::TimedOut { .. });
            if !again || (patience.abandoned)() {
                return Err(error);
            }
            // A try that the limit cut short knows less than the one before it.
            last = match (error, last) {
                (GuestError::TimedOut { .. }, Some(before)) => Some(before),
                (error, _) => Some(error),
            };
            if patience.left() <= pause {
                return Err(last.unwrap_or_else(|| closed(target.address, "it was never opened")));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn attempt(
        target: &Target,
        host_key: Option<&str>,
        patience: Patience<'_>,
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
        // A duration of zero is an error of its own to `connect_timeout`.
        let limit = patience.left().max(Duration::from_millis(1));
        let socket = match TcpStream::connect_timeout(&address, limit) {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(late(Phase::Connect)),
            Err(error) => return Err(refused(error)),
        };
        let mut wire = Wire::new(socket).map_err(refused)?;
        let mut ssh = wire.ssh.clone();
        wire.until(patience, || ssh.handshake()).map_err(|stop| match stop {
            Stop::Late => late(Phase::Handshake),
            Stop::Abandoned => abandoned(address),
            Stop::Failed(source) => GuestError::Handshake { address, attempts, source },
        })?;
        let found = fingerprint(&wire);
        if let Some(expected) = host_key
            && expected != found
        {
            return Err(GuestError::HostKey { address, expected: expected.to_owned(), found });
        }
        log_in(&mut wire, target, patience, &late)?;
        Ok(Self { address, wire, host_key: found })
    }

    /// SHA-256 of the host's key, written as OpenSSH writes it.
    pub(super) fn host_key(&self) -> &str {
        &self.host_key
    }

    /// The connection itself.
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// A second handle to the socket, to shut it down from another thread.
    pub(super) fn socket(&self) -> Option<TcpStream> {
        self.wire.socket().try_clone().ok()
    }

    /// Runs one command to its end. After an error the session must not be used again.
    pub(super) fn run(&self, command: &Command, patience: Patience<'_>) -> Result<Output, GuestError> {
        let started = Instant::now();
        let mut partial = Partial::default();
        let mut phase = Phase::Open;
        match self.converse(command, patience, &mut phase, &mut partial) {
            Ok(exit) => {
                let Partial { stdout, stderr } = partial;
                Ok(Output { exit, stdout, stderr, duration: started.elapsed() })
            }
            Err(stop) => Err(self.failure(stop, phase, command, partial)),
        }
    }

    fn converse(
        &self,
        command: &Command,
        patience: Patience<'_>,
        phase: &mut Phase,
        partial: &mut Partial,
    ) -> Result<Exit, Stop> {
        let wire = &self.wire;
        let mut channel = wire.until(patience, || wire.ssh.channel_session())?;
        *phase = Phase::Execute;
        wire.until(patience, || channel.exec(&command.line))?;
        *phase = Phase::Transfer;
        self.pump(&mut channel, &command.input, patience, partial)?;
        *phase = Phase::Status;
        wire.until(patience, || channel.close())?;
        wire.until(patience, || channel.wait_close())?;
        // A command killed by a signal has the exit status 0 with this library.
        match channel.exit_signal().map_err(io::Error::from)?.exit_signal {
            Some(signal) => Ok(Exit::Signal(signal)),
            None => Ok(Exit::Status(channel.exit_status().map_err(io::Error::from)?)),
        }
    }

    /// Gives the input and takes both outputs in turns: a channel stalls as soon as one stream's
    /// window is full and nobody reads it.
    fn pump(
        &self,
        channel: &mut ssh2::Channel,
        input: &[u8],
        patience: Patience<'_>,
        partial: &mut Partial,
    ) -> Result<(), Stop> {
        let mut buffer = vec![0; 64 * 1024];
        let mut given = Some(0);
        while !channel.eof() {
            let mut moved = false;
            if let Some(offset) = given {
                given = match give(channel, &input[offset..])? {
                    Some(Given::Bytes(count)) => {
                        moved = true;
                        Some(offset + count)
                    }
                    Some(Given::Everything) => None,
                    None => Some(offset),
                };
            }
            moved |= take(channel.stream(0), &mut buffer, &mut partial.stdout)?;
            moved |= take(channel.stderr(), &mut buffer, &mut partial.stderr)?;
            if partial.stdout.len() + partial.stderr.len() > MOST {
                return Err(Stop::Failed(io::Error::from(io::ErrorKind::FileTooLarge)));
            }
            // The deadline also holds for a command that never stops printing.
            if moved && !patience.left().is_zero() {
                continue;
            }
            if !channel.eof() {
                self.wire.wait(patience)?;
            }
        }
        Ok(())
    }

    fn failure(&self, stop: Stop, phase: Phase, command: &Command, partial: Partial) -> GuestError {
        let address = self.address;
        match stop {
            Stop::Late => GuestError::TimedOut {
                address,
                phase,
                what: format!("`{}`", command.line),
                after: command.timeout,
                partial,
            },
            Stop::Abandoned => abandoned(address),
            Stop::Failed(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                GuestError::TooMuch { command: command.line.clone(), limit: MOST, partial }
            }
            Stop::Failed(source) => {
                GuestError::Lost { address, phase, command: command.line.clone(), partial, source }
            }
        }
    }
}

fn log_in(
    wire: &mut Wire,
    target: &Target,
    patience: Patience<'_>,
    late: &dyn Fn(Phase) -> GuestError,
) -> Result<(), GuestError> {
    let address = target.address;
    let key = target.key.to_openssh(ssh_key::LineEnding::LF).map_err(|source| GuestError::Key { source })?;
    let ssh = wire.ssh.clone();
    wire.until(patience, || ssh.userauth_pubkey_memory(&target.user, None, &key, None)).map_err(|stop| {
        match stop {
            Stop::Late => late(Phase::Authenticate),
            Stop::Abandoned => abandoned(address),
            Stop::Failed(source) => GuestError::Authenticate { address, user: target.user.clone(), source },
        }
    })
}

/// What of the input was taken.
enum Given {
    Bytes(usize),
    /// all of it, and the end of it was told
    Everything,
}

/// Gives a piece of the input, or says that it is at its end. Nothing, where the guest takes
/// nothing at the moment; then the same piece must be given again.
fn give(channel: &mut ssh2::Channel, input: &[u8]) -> Result<Option<Given>, Stop> {
    let result = if input.is_empty() {
        channel.send_eof().map(|()| Given::Everything).map_err(io::Error::from)
    } else {
        channel.write(input).map(Given::Bytes)
    };
    match result {
        // Room for no byte at all: the window is closed until the command reads.
        Ok(Given::Bytes(0)) => Ok(None),
        Ok(given) => Ok(Some(given)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(Stop::Failed(error)),
    }
}

/// Takes what a stream has at the moment, and says whether that was anything.
fn take(mut stream: ssh2::Stream, buffer: &mut [u8], into: &mut Vec<u8>) -> Result<bool, Stop> {
    match stream.read(buffer) {
        Ok(0) => Ok(false),
        Ok(count) => {
            into.extend_from_slice(&buffer[..count]);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(Stop::Failed(error)),
    }
}

fn fingerprint(wire: &Wire) -> String {
    match wire.ssh.host_key_hash(ssh2::HashType::Sha256) {
        Some(hash) => format!("SHA256:{}", STANDARD_NO_PAD.encode(hash)),
        None => "none".to_owned(),
    }
}

pub(super) fn closed(address: SocketAddr, reason: &str) -> GuestError {
    GuestError::Closed { address, reason: reason.to_owned() }
}

/// Seen by nobody: whoever asked is gone.
fn abandoned(address: SocketAddr) -> GuestError {
    closed(address, "whoever asked no longer waits for the answer")
}
