// SPDX-License-Identifier: Apache-2.0
//! QEMU itself: what it is started with, and how it is talked to.
//!
//! - [`emulator`], [`capabilities`]: the installed program and what it supports
//! - [`acceleration`], [`accelerator_probe`], [`micro_boot`]: which accelerator works, proven by a boot
//! - [`arguments`], [`memory`], [`firmware`], [`firmware_descriptor`]: the command line
//! - [`overlay`], [`tpm`]: disks and TPMs
//! - [`process`], [`children`], [`qmp`]: the running process and its QMP connection
pub(crate) mod acceleration;
pub(crate) mod accelerator_probe;
pub(crate) mod arguments;
pub(crate) mod capabilities;
pub(crate) mod children;
pub(crate) mod emulator;
pub(crate) mod firmware;
pub(crate) mod firmware_descriptor;
pub(crate) mod memory;
pub(crate) mod micro_boot;
pub(crate) mod overlay;
pub(crate) mod process;
pub(crate) mod qmp;
pub(crate) mod tpm;
