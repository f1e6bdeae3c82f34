// SPDX-License-Identifier: Apache-2.0
//! Virtual machines: QEMU, its guests' channels to the harness, snapshots and faults.
//!
//! [`prove`] finds the accelerator that works on this host. [`Machine::start`] boots a [`MachinePlan`], a
//! [`MachineStarter`] boots it or restores it from a snapshot, and [`arguments`] shows the command line
//! without doing either. A [`Supervisor`] owns all machines of a run and stops them. A machine that cannot
//! continue has one [`Fault`], which [`Machine::fault`] returns as soon as it is found.
//!
//! - `qemu`: the program, its command line, its processes, QMP
//! - `snapshot`: snapshots of booted machines
//! - `health`: symptoms and faults
//! - `network`: connections to the harness and to other machines
//! - `spec`, `plan`, `layout`: a machine's settings, what they are resolved to, and its paths
//! - `start_method`, `start_mode`, `start`, `starter`: from a plan to a running machine
//! - `machine`, `process_owner`, `supervisor`: running machines
//! - `console`, `journal`, `events`, `lines`, `capped_file`, `log_limit`, `guest_config`: the
//!   guest's channels
//! - `runtime_directory`, `private_file`, `sockets`: files of running machines
mod capped_file;
mod console;
mod events;
mod guest_config;
mod health;
mod journal;
mod layout;
mod lines;
mod log_limit;
#[expect(clippy::module_inception, reason = "the folder is named after its one noun")]
mod machine;
mod network;
mod plan;
mod private_file;
mod process_owner;
mod qemu;
mod runtime_directory;
mod snapshot;
mod sockets;
mod spec;
mod start;
mod start_error;
mod start_method;
mod start_mode;
mod starter;
mod supervisor;
#[cfg(test)]
mod testing;

pub use events::Ready;
pub use guest_config::{EVENTS_PORT, JOURNAL_PORT, USER, complete_config, harness_config};
pub use health::fault::Fault;
pub use health::host_load::HostShare;
pub use layout::Layout;
pub use machine::Machine;
pub use network::peer_address::PeerAddress;
pub use network::peer_network::PeerNetwork;
pub use network::relay::relay;
pub use plan::MachinePlan;
pub use process_owner::Stopped;
pub use qemu::acceleration::{AccelChoice, Acceleration, AccelerationError, open_device, prove};
pub use qemu::accelerator::Accelerator;
pub use qemu::accelerator_probe::{Measurement, Probe};
pub use qemu::arguments::{ORIGIN, arguments};
pub use qemu::capabilities::{QemuCapabilitiesError, SnapshotMode};
pub use qemu::children::ChildRecord;
pub use qemu::emulator::{Emulator, EmulatorError};
pub use qemu::firmware::{Firmware, FirmwareChoice, FirmwareError};
pub use qemu::flash::Flash;
pub use qemu::micro_boot::{BootAction, MAX_TEXT, boot_disk};
pub use qemu::overlay::OverlayError;
pub use qemu::process::{ProcessState, StopMethod};
pub use qemu::qmp::QmpError;
pub use qemu::tpm::TpmError;
pub use snapshot::builder::SnapshotError;
pub use snapshot::key::SnapshotKey;
pub use snapshot::migration::MigrateError;
pub use snapshot::parts::SnapshotPart;
pub use snapshot::snapshot::Snapshot;
pub use snapshot::snapshots::{SnapshotEntry, Snapshots};
pub use spec::{DiskSpec, LONGEST_SERIAL, MachineSpec, Network};
pub use start_error::StartError;
pub use start_method::{ColdReason, Start, StartChoice, StartMethod, StartReport, WarmReason};
pub use starter::{MachineContext, MachineStarter, StarterError};
pub use supervisor::{Supervisor, SupervisorError};
