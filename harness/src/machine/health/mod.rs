// SPDX-License-Identifier: Apache-2.0
//! Whether a machine still runs as it should, and if not, the one [`fault::Fault`] that explains it.
//!
//! - [`monitor`]: collects symptoms and makes one fault of them
//! - [`poll`]: asks QEMU, the guest's processors and the host's clocks at intervals
//! - [`console_rules`]: lines of the console that end a boot
//! - [`ssh_probe`], [`guest_status`]: why SSH does not answer
pub(crate) mod console_rules;
pub(crate) mod fault;
pub(crate) mod guest_status;
pub(crate) mod monitor;
pub(crate) mod poll;
pub(crate) mod ssh_probe;
