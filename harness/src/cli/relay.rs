// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use clap::Args;

use super::Exit;
use crate::machine::relay;

/// Arguments of `loadgauge relay`.
#[derive(Debug, Args)]
pub(super) struct RelayArguments {
    /// Socket on which the harness listens
    socket: Utf8PathBuf,
}

/// Connects a guest to the harness.
///
/// Nothing is printed: QEMU sends standard error to the guest as well, which would take an error message
/// for the answer of the harness.
pub(super) fn run(arguments: &RelayArguments) -> Exit {
    match relay(&arguments.socket) {
        Ok(()) => Exit::Passed,
        Err(_) => Exit::Internal,
    }
}
