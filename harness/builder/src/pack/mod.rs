// SPDX-License-Identifier: Apache-2.0
//! Packs a staged tree as an image.
//!
//! The same tree gives the same bytes for every user, at any time, and in any directory: times and
//! identifiers are fixed, and owners are those of the stage. The file of each format describes how. Another
//! version of a packer can give other bytes, so the version is part of a build's key.
mod btrfs;
mod btrfs_normalise;
mod ddi;
mod directory;
mod erofs;
mod error;
mod ext4;
mod identity;
mod options;
mod packing;
mod program_text;
mod squashfs;

pub use error::PackError;
pub use identity::Identity;
pub use options::{DdiFilesystem, ErofsCompression, Packing, SquashfsCompression};
pub(super) use packing::pack_database;
pub use packing::{pack, packer};
