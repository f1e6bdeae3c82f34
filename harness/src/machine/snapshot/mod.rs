// SPDX-License-Identifier: Apache-2.0
//! Snapshots of booted machines, which warm starts restore.
//!
//! - [`key`]: what must be the same for a snapshot to fit a machine
//! - [`snapshot`], [`snapshots`]: one snapshot, and all of them in the store
//! - [`builder`], [`restore`], [`migration`]: saving a machine and starting copies of it
pub(crate) mod builder;
pub(crate) mod key;
pub(crate) mod migration;
pub(crate) mod restore;
#[expect(clippy::module_inception, reason = "the folder is named after its one noun")]
pub(crate) mod snapshot;
pub(crate) mod snapshots;
