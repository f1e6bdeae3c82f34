// SPDX-License-Identifier: Apache-2.0
//! QEMU: acceleration, command line, process, QMP, console, journal, network.
//!
//! [`prove`] says which accelerator works on this host. [`Machine::start`] makes a running machine of a
//! [`MachinePlan`]; [`arguments`] is the part of it that can be shown without one. A [`Supervisor`]
//! keeps all machines of a run and ends them. Whatever makes a machine unable to go on is one
//! [`Fault`], and is told by [`Machine::fault`] as soon as it is seen.
mod acceleration;
mod arguments;
mod children;
mod console;
mod contact;
mod directory;
mod events;
mod fault;
mod firmware;
mod firmware_descriptor;
mod http;
mod journal;
mod keeper;
mod layout;
mod leftovers;
mod lines;
#[expect(clippy::module_inception, reason = "the folder is named after its one noun")]
mod machine;
mod micro;
mod monitor;
mod overlay;
mod plan;
mod probe;
mod process;
mod pulse;
mod qemu;
mod qmp;
mod relay;
mod rules;
mod spec;
mod start;
mod supervisor;
#[cfg(test)]
mod testing;
mod tpm;
mod units;

pub use acceleration::{AccelChoice, Acceleration, AccelerationError, Accelerator, open_device, prove};
pub use arguments::{ORIGIN, arguments};
pub use children::ChildRecord;
pub use directory::FileError;
pub use events::Ready;
pub use fault::Fault;
pub use firmware::{Firmware, FirmwareChoice, FirmwareError, Flash};
pub use keeper::Stopped;
pub use layout::Layout;
pub use machine::Machine;
pub use micro::{MAX_TEXT, Then, boot_disk};
pub use overlay::OverlayError;
pub use plan::MachinePlan;
pub use probe::{Measurement, Probe};
pub use process::Rung;
pub use qemu::{Emulator, EmulatorError};
pub use qmp::QmpError;
pub use relay::relay;
pub use spec::{DiskSpec, LONGEST_SERIAL, MachineSpec, Network};
pub use start::{StartError, command_line, complete_config};
pub use supervisor::{Supervisor, SupervisorError};
pub use tpm::TpmError;
pub use units::{EVENTS_PORT, JOURNAL_PORT, USER, harness_config};
