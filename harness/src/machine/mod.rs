// SPDX-License-Identifier: Apache-2.0
//! QEMU: acceleration, command line, process, QMP, console, journal, network.
//!
//! [`prove`] says which accelerator works on this host. [`Machine::start`] makes a running machine of a
//! [`MachinePlan`]; [`arguments`] is the part of it that can be shown without one. A [`Supervisor`]
//! keeps all machines of a run and ends them. Whatever makes a machine unable to go on is one
//! [`Fault`], and is told by [`Machine::fault`] as soon as it is seen.
mod console;
mod directory;
mod events;
mod health;
mod journal;
mod layout;
mod leftovers;
mod lines;
#[expect(clippy::module_inception, reason = "the folder is named after its one noun")]
mod machine;
mod network;
mod plan;
mod process_owner;
mod qemu;
mod snapshot;
mod spec;
mod start;
mod start_mode;
mod starter;
mod supervisor;
#[cfg(test)]
mod testing;
mod units;

pub use directory::FileError;
pub use events::Ready;
pub use health::fault::Fault;
pub use layout::Layout;
pub use machine::Machine;
pub use network::peer_address::PeerAddress;
pub use network::peer_network::PeerNetwork;
pub use network::relay::relay;
pub use plan::MachinePlan;
pub use process_owner::Stopped;
pub use qemu::acceleration::{AccelChoice, Acceleration, AccelerationError, Accelerator, open_device, prove};
pub use qemu::accelerator_probe::{Measurement, Probe};
pub use qemu::arguments::{ORIGIN, arguments};
pub use qemu::capabilities::{QemuCapabilitiesError, SnapshotMode};
pub use qemu::children::ChildRecord;
pub use qemu::emulator::{Emulator, EmulatorError};
pub use qemu::firmware::{Firmware, FirmwareChoice, FirmwareError, Flash};
pub use qemu::micro_boot::{MAX_TEXT, Then, boot_disk};
pub use qemu::overlay::OverlayError;
pub use qemu::process::StopMethod;
pub use qemu::qmp::QmpError;
pub use qemu::tpm::TpmError;
pub use snapshot::builder::SnapshotError;
pub use snapshot::key::SnapshotKey;
pub use snapshot::migration::MigrateError;
pub use snapshot::snapshot::Snapshot;
pub use snapshot::snapshots::{SnapshotEntry, Snapshots};
pub use spec::{DiskSpec, LONGEST_SERIAL, MachineSpec, Network};
pub use start::{StartError, complete_config};
pub use starter::{BeginError, Decision, MachineStarter, Place, Start, StartChoice, Started};
pub use supervisor::{Supervisor, SupervisorError};
pub use units::{EVENTS_PORT, JOURNAL_PORT, USER, harness_config};
