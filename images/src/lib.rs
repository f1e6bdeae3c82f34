// SPDX-License-Identifier: Apache-2.0
//! Flatcar releases and images: what the harness boots and builds against.
//!
//! - [`host`]: the tools and the cache of the host that everything else works with
//! - [`image`]: a bootable disk image and what is known of it
//! - [`base`]: the package database that an extension is built against
//! - [`release`]: versions of Flatcar and what they carry
//! - [`release_directory`]: the files of a release, and what they are verified by
//! - [`signature`]: who signed what
//! - [`standin`]: an image made from Debian packages that behaves like Flatcar's
mod architecture;
/// The package database that an extension is built against.
pub mod base;
mod digest;
pub mod host;
pub mod image;
mod os_release;
/// Versions of Flatcar and what they carry.
pub mod release;

pub mod inspect;
pub mod release_directory;
pub mod signature;
pub mod standin;

pub use architecture::Architecture;
pub use base::Base;
pub use image::{Facts, Image};
pub use os_release::OsRelease;
pub use release::Release;
