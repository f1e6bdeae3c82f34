// SPDX-License-Identifier: Apache-2.0
//! Flatcar releases and images: what the harness boots and builds against.
//!
//! - [`image`]: a bootable disk image and its facts
//! - [`inspect`]: images inspected without booting them
//! - [`extension_image`]: images of system extensions
//! - [`file_system`], [`gpt`], [`verity`]: one reader for each format
//! - [`base`]: the package database that an extension is built against
//! - [`release`]: versions of Flatcar and what they contain
//! - [`release_directory`]: the files of a release, and their verification
//! - [`signature`]: signatures and keys
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests unwrap at once"))]
mod architecture;
/// The package database that an extension is built against.
pub mod base;
mod disk;
/// Images of system extensions.
pub mod extension_image;
pub mod file_system;
pub mod gpt;
pub mod image;
mod os_release;
/// Versions of Flatcar and what they contain.
pub mod release;

pub mod inspect;
pub mod release_directory;
pub mod signature;
pub mod verity;

pub use architecture::Architecture;
pub use base::Base;
pub use extension_image::ExtensionImage;
pub use image::{Facts, Image};
pub use os_release::OsRelease;
pub use release::Release;
