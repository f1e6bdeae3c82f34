// SPDX-License-Identifier: Apache-2.0
//! Snapshots of booted machines, for warm starts.
//!
//! - [`key`]: everything that must be equal for two booted machines to be equal
//! - [`snapshot`], [`parts`], [`snapshots`]: the files of a snapshot, their checks, and all snapshots in the
//!   store
//! - [`builder`], [`restore`], [`migration`]: saving and restoring a machine
pub(crate) mod builder;
pub(crate) mod key;
pub(crate) mod migration;
pub(crate) mod parts;
pub(crate) mod restore;
#[expect(clippy::module_inception, reason = "the folder is named after its one noun")]
pub(crate) mod snapshot;
pub(crate) mod snapshots;
