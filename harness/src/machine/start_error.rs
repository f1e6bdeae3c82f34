// SPDX-License-Identifier: Apache-2.0
use camino::Utf8PathBuf;
use loadgauge_host::{FileError, Hint};
use loadgauge_ignition::Conflict;

use super::qemu::emulator::EmulatorError;
use super::qemu::overlay::OverlayError;
use super::qemu::qmp::QmpError;
use super::qemu::tpm::TpmError;
use super::snapshot::migration::MigrateError;

/// The time for QEMU to connect its sockets, in seconds. It does so before it allocates memory.
pub(crate) const CONNECT_SECONDS: u64 = 20;

/// A machine cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// the disk cannot be created
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// QEMU is not usable
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// the scenario's Ignition config and the harness's contradict each other
    #[error("cannot merge the scenario's Ignition config with the harness's")]
    Conflict(#[from] Conflict),
    /// the SSH key cannot be generated
    #[error("cannot generate an SSH key for the machine")]
    Key(#[from] ssh_key::Error),
    /// QEMU cannot be executed
    #[error("cannot run `{path}`")]
    Spawn {
        /// the program
        path: Utf8PathBuf,
        /// the error of the operating system
        source: std::io::Error,
    },
    /// QEMU exited before the guest ran
    #[error("QEMU exited before the guest was started: {status}:\n{log}")]
    Exited {
        /// exit status or signal
        status: String,
        /// the end of QEMU's log
        log: String,
    },
    /// QEMU runs and does not connect
    #[error("QEMU did not connect its {channel} within {CONNECT_SECONDS} s")]
    NotConnected {
        /// the QMP socket or a device of the guest
        channel: &'static str,
    },
    /// a QMP command failed
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// the TPM cannot be started
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// the run ends
    #[error("the machine was not started: the run is being stopped")]
    Cancelled,
    /// QEMU cannot read the snapshot
    #[error("cannot restore the snapshot")]
    Restore(#[from] MigrateError),
    /// the restored guest is not the saved one
    #[error("the restored machine does not match its snapshot: {found}")]
    NoCopy {
        /// the guest's answer, or the fault instead of it
        found: String,
    },
    /// QEMU forwards no port to the guest
    #[error("cannot find the port that QEMU forwards to the guest's SSH in:\n{found}")]
    NoPort {
        /// QEMU's table of connections
        found: String,
    },
}

impl Hint for StartError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Overlay(error) => error.hint(),
            Self::Emulator(error) => error.hint(),
            Self::Tpm(error) => error.hint(),
            Self::Conflict(error) => error.hint(),
            Self::Exited { log, .. } if log.contains("kvm") || log.contains("KVM") => {
                Some("run without KVM: --accel tcg".to_owned())
            }
            _ => None,
        }
    }
}
