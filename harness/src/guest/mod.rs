// SPDX-License-Identifier: Apache-2.0
//! The system inside a machine, reached over SSH.
//!
//! - [`Guest`]: the handle; one worker thread with one session stands behind it
//! - [`Command`] and [`Output`]: what is asked and what comes back
//! - [`GuestError`]: what went wrong, by [`Phase`]
//! - [`shell`]: a person in the guest
//! - [`Transcript`]: the record of a command for reports
mod command;
mod connection;
mod error;
mod escape;
mod session;
mod shell;
mod transcript;
mod wire;

pub use command::{Command, Exit, Output};
pub use connection::Guest;
pub use error::{GuestError, Partial, Phase, words};
pub use loadgauge_host::quote;
pub use shell::{Left, shell};
pub use transcript::Transcript;
