// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use loadgauge_host::Hint;

/// The phases of a command on the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// the TCP connection
    Connect,
    /// identification strings, key exchange and the host key
    Handshake,
    /// the user's key
    Authenticate,
    /// opening a channel
    Open,
    /// sending the command line
    Execute,
    /// standard input, output and error
    Transfer,
    /// exit status or signal
    Status,
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Authenticate => "authenticate",
            Self::Open => "open",
            Self::Execute => "execute",
            Self::Transfer => "transfer",
            Self::Status => "status",
        })
    }
}

/// The output of a command that did not end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partial {
    /// standard output
    pub stdout: Vec<u8>,
    /// standard error
    pub stderr: Vec<u8>,
}

/// The guest did not run a command to its end. A command that ended has an exit status, whatever it is.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// no TCP connection
    #[error("cannot connect to `{address}` ({attempts} attempts)")]
    Connect {
        /// the host's address of the guest's SSH port
        address: SocketAddr,
        /// the number of attempts
        attempts: u32,
        /// the error of the last attempt
        source: io::Error,
    },
    /// no SSH handshake
    #[error("cannot complete the SSH handshake with `{address}` ({attempts} attempts)")]
    Handshake {
        /// the host's address of the guest's SSH port
        address: SocketAddr,
        /// the number of attempts
        attempts: u32,
        /// the error of the last attempt
        source: io::Error,
    },
    /// the host key differs from that of the first connection
    #[error("host key of `{address}` changed: expected `{expected}`, found `{found}`")]
    HostKey {
        /// the host's address of the guest's SSH port
        address: SocketAddr,
        /// the fingerprint on the first connection
        expected: String,
        /// the fingerprint on this connection
        found: String,
    },
    /// the guest refuses the user's key
    #[error("`{address}` refuses the key of `{user}`")]
    Authenticate {
        /// the host's address of the guest's SSH port
        address: SocketAddr,
        /// the user
        user: String,
        /// the error of the SSH library
        source: io::Error,
    },
    /// the connection failed during a command
    #[error("connection to `{address}` failed during `{command}` (phase {phase})")]
    Lost {
        /// the host's address of the guest's SSH port
        address: SocketAddr,
        /// `Open`, `Execute`, `Transfer` or `Status`
        phase: Phase,
        /// the command line
        command: String,
        /// the output so far
        partial: Partial,
        /// the error of the SSH library or of the operating system
        source: io::Error,
    },
    /// a command or a phase of the connection exceeded its limit
    #[error("{what} at `{address}` did not end within {}", seconds(*after))]
    TimedOut {
        /// the host's address of the guest's SSH port
        address: SocketAddr,
        /// the phase at the time-out
        phase: Phase,
        /// the command in backticks, or the phase
        what: String,
        /// the limit
        after: Duration,
        /// the output so far
        partial: Partial,
    },
    /// the output of a command exceeds the limit
    #[error("output of `{command}` exceeds {limit} bytes")]
    TooMuch {
        /// the command line
        command: String,
        /// the limit of both streams together, in bytes
        limit: usize,
        /// the beginning of the output
        partial: Partial,
    },
    /// the connection is closed
    #[error("connection to `{address}` is closed: {reason}")]
    Closed {
        /// the host's address of the guest's SSH port
        address: SocketAddr,
        /// why it is closed
        reason: String,
    },
    /// the key cannot be encoded for the SSH library
    #[error("cannot encode the private key")]
    Key {
        /// the error of the encoder
        source: ssh_key::Error,
    },
}

impl GuestError {
    /// The phase of the error, if it has one.
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::Connect { .. } => Some(Phase::Connect),
            Self::Handshake { .. } | Self::HostKey { .. } => Some(Phase::Handshake),
            Self::Authenticate { .. } | Self::Key { .. } => Some(Phase::Authenticate),
            Self::Lost { phase, .. } | Self::TimedOut { phase, .. } => Some(*phase),
            Self::TooMuch { .. } => Some(Phase::Transfer),
            Self::Closed { .. } => None,
        }
    }

    /// The output of the command before the error.
    pub fn partial(&self) -> Option<&Partial> {
        match self {
            Self::Lost { partial, .. } | Self::TimedOut { partial, .. } | Self::TooMuch { partial, .. } => {
                Some(partial)
            }
            _ => None,
        }
    }
}

impl Hint for GuestError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Connect { .. } => "see in console.log how far the guest has booted",
            Self::Handshake { .. } => {
                "the guest's sshd does not answer: see console.log, and the lines of sshd.socket in \
                 journal.jsonl"
            }
            Self::HostKey { .. } => {
                "the guest generated new host keys: check whether /etc/ssh survives the reboot"
            }
            Self::Authenticate { .. } => {
                "Ignition installs the key: check the user's `.ssh/authorized_keys.d/ignition` and sshd's lines \
                 in journal.jsonl"
            }
            Self::Lost { .. } => "the guest or its sshd stopped: see console.log and journal.jsonl",
            Self::TimedOut { phase: Phase::Transfer, .. } => {
                "increase the `timeout` of the step if the command needs it"
            }
            Self::TooMuch { .. } => "redirect the output, or filter it with `tail`",
            Self::TimedOut { .. } | Self::Closed { .. } | Self::Key { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// The error of a closed connection.
pub(super) fn closed(address: SocketAddr, reason: &str) -> GuestError {
    GuestError::Closed { address, reason: reason.to_owned() }
}

/// A duration in seconds with one decimal: `1.5 s`.
fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use loadgauge_host::error::on_one_line;

    use super::*;

    #[test]
    fn an_error_names_phase_command_and_cause() {
        let error = GuestError::Lost {
            address: SocketAddr::from(([127, 0, 0, 1], 2222)),
            phase: Phase::Transfer,
            command: "docker info".into(),
            partial: Partial::default(),
            source: io::Error::other("socket disconnect"),
        };
        assert_eq!(
            on_one_line(&error),
            "connection to `127.0.0.1:2222` failed during `docker info` (phase transfer): socket disconnect"
        );
        assert_eq!(error.phase(), Some(Phase::Transfer));
        assert!(error.hint().is_some());
    }

    #[test]
    fn times_are_rounded() {
        assert_eq!(seconds(Duration::from_millis(1510)), "1.5 s");
        assert_eq!(seconds(Duration::from_mins(1)), "60 s");
    }
}
