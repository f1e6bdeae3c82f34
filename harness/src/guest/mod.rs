// SPDX-License-Identifier: Apache-2.0
//! The system inside a machine, reached over SSH.
//!
//! - [`Guest`]: the handle; one worker thread with one session stands behind it
//! - [`Command`] and [`Output`]: what is asked and what comes back
//! - [`GuestError`]: what went wrong, by [`Phase`]
//! - [`Transcript`]: the record of a command for reports
mod command;
mod connection;
mod error;
mod session;
mod transcript;
mod wire;

pub use command::{Command, Exit, Output};
pub use connection::Guest;
pub use error::{GuestError, Partial, Phase, words};
pub use loadgauge_images::host::quote;
pub use transcript::Transcript;
