// SPDX-License-Identifier: Apache-2.0
//! The stand-in: an image made of Debian packages that behaves like Flatcar's.
//!
//! It is a test bed and never a product: its os-release says so (`VARIANT_ID`), and nothing
//! else tells the harness. It is made in two stages, since the vendor's extensions are built
//! against the first and put into the second:
//!
//! 1. [`build_base`]: the root file system, kernel, initrd and package database;
//! 2. [`build_image`]: the disk around them and the extensions.
//!
//! What it is made of lies in `images/standin/` and is embedded in the library.
mod base;
mod disk;
mod error;
mod grub;
mod image;
mod manifest;
mod namespace;
mod options;
mod tree;

pub use base::build_base;
pub use error::StandinError;
pub use image::{VendorExtension, build_image};
pub use manifest::{FileRecord, Manifest, PackageRecord};
pub use options::Options;
