// SPDX-License-Identifier: Apache-2.0
//! The builder: recipe, sources, staged tree, image.
//!
//! `recipe -> sources -> stage -> finish -> image`, with one file for each:
//!
//! - [`recipe`]: the file format
//! - [`debian`] and [`gentoo`], `archive`, `image`, and `tree`: where the contents come from
//! - [`stage`]: the tree before it is packed, which belongs to root whoever builds it
//! - [`release_file`] and [`compatible()`]: what systemd-sysext goes by when it merges or refuses
//! - [`elf`] and `linkage`: whether programs find the libraries they are linked with
//! - [`lint`]: what breaks extensions on Flatcar
//! - [`pack`]: the image formats, each the same bytes every time
//! - [`describe`]: what is written about the extension, beside it
//! - [`build()`]: all of it together, kept under the digest of its inputs
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests unwrap at once"))]

mod archive;
mod assemble;
mod attributes;
/// All steps of a build, and what comes out of it.
pub mod build;
mod build_error;
/// Whether a system merges an extension.
pub mod compatible;

pub mod debian;
pub mod describe;
pub mod elf;
mod etc;
/// Why an extension holds what it holds.
pub mod explain;
mod extension;
mod fetch;
pub mod gentoo;
mod globs;
mod image;
mod inputs;
mod linkage;
pub mod lint;
mod mangle;
mod member;
pub mod pack;
/// The file that says how an extension is built.
pub mod recipe;
mod recipe_error;
/// The extension-release file.
pub mod release_file;
mod rescan;
/// The key pair that signs an image.
pub mod signing;
/// The tree before it is packed.
pub mod stage;
mod target;
mod tree;
mod unpack;
/// The comparisons that the versions of all package formats share.
pub mod version_order;

pub use archive::ArchiveError;
pub use build::{Built, build, check_reproducible, explain as explain_packages};
pub use build_error::BuildError;
pub use compatible::{Refusal, compatible};
pub use debian::{DebianArchiveError, Package};
pub use extension::{Extension, Format};
pub use fetch::FetchError;
pub use image::{ImageError, releases};
pub use mangle::MangleError;
pub use member::NameError;
pub use recipe::Recipe;
pub use recipe_error::RecipeError;
pub use rescan::RescanError;
pub use target::Target;
pub use tree::TreeError;
pub use unpack::{UnpackCause, UnpackError};
