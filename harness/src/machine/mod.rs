// SPDX-License-Identifier: Apache-2.0
//! QEMU: acceleration, command line, process, QMP, console, journal, network.
//!
//! [`prove`] says which accelerator works on this host. [`Machine::start`] makes a running machine of a
//! [`MachinePlan`]; [`arguments`] is the part of it that can be shown without one. A [`Supervisor`]
//! keeps all machines of a run and ends them. Whatever makes a machine unable to go on is one
//! [`Fault`], and is told by [`Machine::fault`] as soon as it is seen.
mod abilities;
mod acceleration;
mod arguments;
mod beginning;
mod children;
mod condition;
mod console;
mod contact;
mod directory;
mod events;
mod fault;
mod firmware;
mod firmware_descriptor;
mod http;
mod journal;
mod key;
mod layout;
mod leftovers;
mod lines;
#[expect(clippy::module_inception, reason = "the folder is named after its one noun")]
mod machine;
mod memory;
mod micro;
mod migrate;
mod monitor;
mod overlay;
mod plan;
mod probe;
mod process;
mod process_owner;
mod pulse;
mod qemu;
mod qmp;
mod relay;
mod restore;
mod rules;
mod segment;
mod snapshot;
mod snapshot_builder;
mod snapshots;
mod spec;
mod start;
mod starter;
mod station;
mod supervisor;
#[cfg(test)]
mod testing;
mod tpm;
mod units;

pub use abilities::{QemuCapabilitiesError, SnapshotMode};
pub use acceleration::{AccelChoice, Acceleration, AccelerationError, Accelerator, open_device, prove};
pub use arguments::{ORIGIN, arguments};
pub use children::ChildRecord;
pub use directory::FileError;
pub use events::Ready;
pub use fault::Fault;
pub use firmware::{Firmware, FirmwareChoice, FirmwareError, Flash};
pub use key::SnapshotKey;
pub use layout::Layout;
pub use machine::Machine;
pub use micro::{MAX_TEXT, Then, boot_disk};
pub use migrate::MigrateError;
pub use overlay::OverlayError;
pub use plan::MachinePlan;
pub use probe::{Measurement, Probe};
pub use process::StopMethod;
pub use process_owner::Stopped;
pub use qemu::{Emulator, EmulatorError};
pub use qmp::QmpError;
pub use relay::relay;
pub use segment::PeerNetwork;
pub use snapshot::Snapshot;
pub use snapshot_builder::SnapshotError;
pub use snapshots::{SnapshotEntry, Snapshots};
pub use spec::{DiskSpec, LONGEST_SERIAL, MachineSpec, Network};
pub use start::{StartError, complete_config};
pub use starter::{BeginError, Decision, MachineStarter, Place, Start, StartChoice, Started};
pub use station::PeerAddress;
pub use supervisor::{Supervisor, SupervisorError};
pub use tpm::TpmError;
pub use units::{EVENTS_PORT, JOURNAL_PORT, USER, harness_config};
