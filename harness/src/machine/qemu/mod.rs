// SPDX-License-Identifier: Apache-2.0
//! QEMU: the installed program, its command line, its processes and its protocol.
//!
//! - [`emulator`], [`capabilities`]: the installed program and what it supports
//! - [`accelerator`], [`acceleration`], [`accelerator_probe`], [`micro_boot`]: the accelerator, proven by a
//!   micro-boot
//! - [`arguments`], [`memory`], [`firmware`], [`firmware_descriptor`], [`flash`], [`option`]: the command
//!   line
//! - [`overlay`], [`tpm`]: disks and TPMs
//! - [`process`], [`children`], [`qmp`]: running processes and QMP
pub(crate) mod acceleration;
pub(crate) mod accelerator;
pub(crate) mod accelerator_probe;
pub(crate) mod arguments;
pub(crate) mod capabilities;
pub(crate) mod children;
pub(crate) mod emulator;
pub(crate) mod firmware;
pub(crate) mod firmware_descriptor;
pub(crate) mod flash;
pub(crate) mod memory;
pub(crate) mod micro_boot;
pub(crate) mod option;
pub(crate) mod overlay;
pub(crate) mod process;
pub(crate) mod qmp;
pub(crate) mod tpm;
