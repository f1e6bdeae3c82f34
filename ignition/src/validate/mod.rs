// SPDX-License-Identifier: Apache-2.0
//! Validates a config without a guest.
//!
//! The rules are those of Ignition's own validation (`config/v3_3/types` and `config/validate` in
//! `coreos/ignition`), and some more where Ignition accepts settings that fail or have no effect in the guest.
//! The integration test `oracle` compares both, and lists where this crate is stricter.

mod disks;
mod passwd;
mod problem;
mod resource;
mod sections;
mod storage;
mod systemd;

pub use problem::{Problem, Severity};

#[cfg(test)]
mod tests;
