// SPDX-License-Identifier: Apache-2.0
//! QEMU: acceleration, command line, process, QMP, console, journal, network.
mod acceleration;
mod fault;
mod plan;
mod spec;

pub use acceleration::{Acceleration, Accelerator};
pub use fault::Fault;
pub use plan::MachinePlan;
pub use spec::{MachineSpec, Network};
