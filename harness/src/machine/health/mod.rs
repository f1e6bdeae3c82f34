// SPDX-License-Identifier: Apache-2.0
//! Detects that a machine cannot continue, and finds the one [`Fault`](fault::Fault) that explains it.
//!
//! - [`symptom`], [`monitor`]: the symptoms, and the fault that explains them
//! - [`poll`]: symptoms of QEMU, the guest's processors and the host's clocks, at intervals
//! - [`console_rules`]: lines of the console that end a boot
//! - [`host_load`]: the processor time that the host withholds from a guest
//! - [`ssh_probe`], [`guest_status`]: why SSH does not answer
pub(crate) mod console_rules;
pub(crate) mod fault;
pub(crate) mod guest_status;
pub(crate) mod host_load;
pub(crate) mod monitor;
pub(crate) mod poll;
pub(crate) mod ssh_probe;
pub(crate) mod symptom;
