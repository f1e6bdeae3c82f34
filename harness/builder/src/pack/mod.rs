// SPDX-License-Identifier: Apache-2.0
//! From a staged tree to the bytes of an image.
//!
//! The same tree gives the same bytes, whoever builds it, when, and in which directory: times and
//! identifiers are fixed, and everything belongs to root. What each format needs for that is told
//! in its file. Another version of a packer may give other bytes; so it is part of what a build is
//! kept under.
mod btrfs;
mod btrfs_normalise;
mod ddi;
mod directory;
mod erofs;
mod error;
mod ext4;
mod help;
mod identity;
mod options;
mod packing;
mod squashfs;

pub use error::PackError;
pub use identity::Identity;
pub use options::{ErofsCompression, Inner, Packing, SquashfsCompression};
pub(super) use packing::pack_database;
pub use packing::{pack, packer};
