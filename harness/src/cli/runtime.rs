// SPDX-License-Identifier: Apache-2.0
//! What every command that starts machines needs of its own process.
use camino::Utf8PathBuf;
use tokio::runtime::Runtime;

use super::{Failure, signals};
use crate::runner::Interrupt;

/// Starts the asynchronous runtime.
pub(super) fn start() -> Result<Runtime, Failure> {
    Runtime::new().map_err(Failure::internal)
}

/// The path of this program, which QEMU starts for each connection of a guest to the harness.
pub(super) fn own_program() -> Result<Utf8PathBuf, Failure> {
    let path = std::env::current_exe().map_err(Failure::internal)?;
    Utf8PathBuf::try_from(path).map_err(Failure::internal)
}

/// Handles SIGINT and SIGTERM: the first cancels in order, the second ends the process at once, and the kernel
/// kills every QEMU with it.
pub(super) fn listen_for_interrupts() -> Result<Interrupt, Failure> {
    Interrupt::listen(|| signals::end()).map_err(Failure::internal)
}
