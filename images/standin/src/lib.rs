// SPDX-License-Identifier: Apache-2.0
//! The stand-in: an image made of Debian packages that behaves like Flatcar's.
//!
//! It is a test bed and never a product: its os-release says so (`VARIANT_ID`), and nothing
//! else tells the harness. It is made in two stages, since the vendor's extensions are built
//! against the first and put into the second:
//!
//! 1. [`build_base`]: the root file system, kernel, initrd and package database;
//! 2. [`build_image`]: the file systems with the extensions in them, and the disk around those.
//!
//! There are stand-ins for the releases in [`BLUEPRINTS`], one of each era.
//!
//! Their files are in `images/standin/assets/` and are embedded in the library. What delivers
//! Docker in an era lies apart in `eras/ERA/` and comes in through hooks, each of which may be
//! absent: `root/` is laid over the packages' files after the common `root/`; `customize.sh` runs in
//! the new root after the common one; `initrd/` becomes the dracut module `51era`; and
//! `deliver.sh TREE [NAME=PATH]...` puts the vendor's extensions into the tree that the disk is
//! made from, in place of the common one.
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests unwrap at once"))]
mod base;
mod blueprint;
mod disk;
mod error;
mod file_systems;
mod grub;
mod image;
mod kernel;
mod namespace;
mod options;
mod packages;
mod tree;
mod vendor_extension;
mod write;

pub use base::build_base;
pub use blueprint::{BLUEPRINTS, Blueprint, UsrFileSystem};
pub use error::StandinError;
pub use image::build_image;
pub use options::Options;
pub use vendor_extension::VendorExtension;
