// SPDX-License-Identifier: Apache-2.0
//! Builds stand-ins: images of Debian packages that behave like Flatcar's.
//!
//! A stand-in is a test bed, not a product. Only its os-release says so (`VARIANT_ID`); the harness does
//! not distinguish it from Flatcar. The build has two stages, because the vendor's extensions are built
//! against the result of the first and included by the second:
//!
//! 1. [`build_base`]: the root file system, kernel, initrd and package database
//! 2. [`build_image`]: the file systems with the extensions in them, and the disk
//!
//! [`BLUEPRINTS`] lists the releases that have a stand-in, one for each era.
//!
//! The library embeds the files in `images/standin/assets/`. The directory `eras/ERA/` contains the
//! files that are specific to an era, as hooks, each of which is optional:
//!
//! - `root/`: files copied over those of the packages, after the common `root/`
//! - `customize.sh`: a script that runs in the new root after the common one
//! - `initrd/`: the dracut module `51era`
//! - `deliver.sh TREE [NAME=PATH]...`: a script that puts the vendor's extensions into the tree of the
//!   disk, in place of the common script
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
