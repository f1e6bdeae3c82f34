// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The steps that a command passes through; an error says in which one it arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// the TCP connection
    Connect,
    /// banners, key exchange and the host's key
    Handshake,
    /// the user's key
    Authenticate,
    /// a channel for one command
    Open,
    /// handing over the command line
    Execute,
    /// standard input and both outputs
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

/// What a command had printed when it was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partial {
    /// its standard output so far
    pub stdout: Vec<u8>,
    /// its standard error so far
    pub stderr: Vec<u8>,
}

/// The guest could not be asked. Not a statement about the guest's health: what a command says
/// with its exit status is an [`super::Output`].
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// no TCP connection
    #[error("cannot connect to `{address}` ({attempts} tries)")]
    Connect {
        /// of the guest's SSH port, on the host
        address: SocketAddr,
        /// how often it was tried
        attempts: u32,
        /// of the last try
        source: io::Error,
    },
    /// the other side does not speak SSH, or not with us
    #[error("no SSH handshake with `{address}` ({attempts} tries)")]
    Handshake {
        /// of the guest's SSH port, on the host
        address: SocketAddr,
        /// how often it was tried
        attempts: u32,
        /// of the last try
        source: io::Error,
    },
    /// the host key is another one than on the first connection
    #[error("`{address}` has the host key `{found}`, and had `{expected}` before")]
    HostKey {
        /// of the guest's SSH port, on the host
        address: SocketAddr,
        /// of the first connection
        expected: String,
        /// of this one
        found: String,
    },
    /// the user's key was not accepted
    #[error("`{address}` does not let `{user}` in")]
    Authenticate {
        /// of the guest's SSH port, on the host
        address: SocketAddr,
        /// who was to log in
        user: String,
        /// in the words of the SSH library
        source: io::Error,
    },
    /// an established connection broke off while a command was being run
    #[error("the connection to `{address}` failed in phase {phase} of `{command}`")]
    Lost {
        /// of the guest's SSH port, on the host
        address: SocketAddr,
        /// open, execute, transfer or status
        phase: Phase,
        /// the command line
        command: String,
        /// what it had printed
        partial: Partial,
        /// in the words of the SSH library or of the kernel
        source: io::Error,
    },
    /// a command or a step of the connection took too long
    #[error("{what} at `{address}` did not end within {}", seconds(*after))]
    TimedOut {
        /// of the guest's SSH port, on the host
        address: SocketAddr,
        /// where it was stuck
        phase: Phase,
        /// the command in backticks, or the phase
        what: String,
        /// how long it was waited for
        after: Duration,
        /// what the command had printed
        partial: Partial,
    },
    /// a command printed more than a harness should keep in memory
    #[error("`{command}` printed more than {limit} bytes")]
    TooMuch {
        /// the command line
        command: String,
        /// in bytes, of both streams together
        limit: usize,
        /// the beginning
        partial: Partial,
    },
    /// there is no connection any more
    #[error("the connection to `{address}` is closed: {reason}")]
    Closed {
        /// of the guest's SSH port, on the host
        address: SocketAddr,
        /// since when or by whom
        reason: String,
    },
    /// the key pair cannot be handed to the SSH library
    #[error("cannot encode the private key")]
    Key {
        /// why not
        source: ssh_key::Error,
    },
}

impl GuestError {
    /// The phase it arose in, where it arose in one.
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

    /// What the command had printed before it was given up.
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
            Self::Connect { .. } => "the machine's console says how far the guest has come",
            Self::Handshake { .. } => {
                "the port is open on the host, but the guest's sshd does not answer: see the console, \
                 and `systemctl status sshd.socket` in the journal"
            }
            Self::HostKey { .. } => "the guest made itself new host keys: was /etc/ssh lost in the reboot?",
            Self::Authenticate { .. } => {
                "the key comes with the Ignition config: see the user's `.ssh/authorized_keys.d/ignition` \
                 and sshd's lines in the journal"
            }
            Self::Lost { .. } => {
                "the guest or its sshd went away: console.log and journal.jsonl say what became of it"
            }
            Self::TimedOut { phase: Phase::Transfer, .. } => {
                "give the step a longer `timeout` if the command needs it"
            }
            Self::TooMuch { .. } => "redirect what is not needed, or look at it with `tail`",
            Self::TimedOut { .. } | Self::Closed { .. } | Self::Key { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// An error and its causes in one line.
pub fn words(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A duration as a person would say it: `1.5 s`.
fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_what_and_why() {
        let error = GuestError::Lost {
            address: SocketAddr::from(([127, 0, 0, 1], 2222)),
            phase: Phase::Transfer,
            command: "docker info".into(),
            partial: Partial::default(),
            source: io::Error::other("socket disconnect"),
        };
        assert_eq!(
            words(&error),
            "the connection to `127.0.0.1:2222` failed in phase transfer of `docker info`: socket disconnect"
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
