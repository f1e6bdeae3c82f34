// SPDX-License-Identifier: Apache-2.0
//! Flatcar releases and images: what the harness boots and builds against.
//!
//! - [`image`]: a bootable disk image and what is known of it
//! - [`base`]: the package database that an extension is built against
//! - [`release`]: versions of Flatcar and what they carry
//! - [`release_directory`]: the files of a release, and what they are verified by
//! - [`signature`]: who signed what
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests unwrap at once"))]
mod architecture;
/// The package database that an extension is built against.
pub mod base;
pub mod image;
mod os_release;
/// Versions of Flatcar and what they carry.
pub mod release;

pub mod inspect;
pub mod release_directory;
pub mod signature;

pub use architecture::Architecture;
pub use base::Base;
pub use image::{Facts, Image};
pub use os_release::OsRelease;
pub use release::Release;
