// SPDX-License-Identifier: Apache-2.0
//! The builder: recipe, sources, staged tree, image.
//!
//! `recipe -> sources -> stage -> finish -> image`, with one file for each:
//!
//! - [`recipe`]: the file format
//! - [`debian`] with `apt` and `deb`, and `tree`: where the contents come from
//! - [`stage`]: the tree before it is packed, which belongs to root whoever builds it
//! - [`release_file`] and [`compatible()`]: what systemd-sysext goes by when it merges or refuses
//! - [`lint`]: what breaks extensions on Flatcar
//! - [`pack`]: the image formats, each the same bytes every time
//! - [`build()`]: all of it together, kept under the digest of its inputs
mod apt;
mod assemble;
/// All steps of a build, and what comes out of it.
pub mod build;
/// Whether a system merges an extension.
pub mod compatible;
mod deb;
/// Packages from a Debian archive.
pub mod debian;
mod digest;
mod extension;
mod globs;
mod inputs;
/// What breaks extensions on Flatcar.
pub mod lint;
mod member;
pub mod pack;
/// The file that says how an extension is built.
pub mod recipe;
mod recipe_error;
/// The extension-release file.
pub mod release_file;
/// The key pair that signs an image.
pub mod signing;
/// The tree before it is packed.
pub mod stage;
mod target;
mod tree;

pub use apt::{AptError, Package};
pub use build::{BuildError, Built, build, check_reproducible};
pub use compatible::{Refusal, compatible};
pub use deb::{DebCause, DebError};
pub use extension::{Extension, Format};
pub use member::NameError;
pub use recipe::Recipe;
pub use recipe_error::RecipeError;
pub use target::Target;
pub use tree::TreeError;
