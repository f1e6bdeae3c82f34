// SPDX-License-Identifier: Apache-2.0
//! The system inside a machine, reached over SSH.
//!
//! - [`Guest`]: the handle, with a worker thread and one session
//! - [`Command`] and [`Output`]: a command and its result
//! - [`GuestError`]: what went wrong, by [`Phase`]
//! - [`shell`]: an interactive shell
//! - [`Transcript`]: the record of a command for reports
mod command;
mod connection;
mod error;
mod escape;
mod nonblocking;
mod session;
mod shell;
mod transcript;

pub use command::{Command, Exit, Output};
pub use connection::Guest;
pub use error::{GuestError, Partial, Phase};
pub use loadgauge_host::quote;
pub use shell::{SessionEnd, shell};
pub use transcript::{Transcript, WholeOutput};
