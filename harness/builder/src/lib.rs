// SPDX-License-Identifier: Apache-2.0
//! Builds system extensions from recipes, without the test harness.
//!
//! A recipe names the sources of an extension: trees, files, archives, Debian packages, Gentoo binary
//! packages, and existing images. They are resolved against a base, staged, changed by the recipe's script,
//! checked and packed. The same inputs give the same bytes, and a build whose inputs have not changed is not
//! repeated.
//!
//! ```no_run
//! use camino::Utf8Path;
//! use loadgauge_builder::lint::BaseTree;
//! use loadgauge_builder::{Recipe, Target, build};
//! use loadgauge_host::Store;
//! use loadgauge_images::{Architecture, OsRelease};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let recipe = Recipe::load(Utf8Path::new("recipes/hello.toml"))?;
//! let os_release = OsRelease::parse("ID=flatcar\nVERSION_ID=4593.2.0\nSYSEXT_LEVEL=1.0\n")?;
//! let target = Target {
//!     os_release: &os_release,
//!     architecture: Architecture::Amd64,
//!     systemd: Some(257),
//!     // Recipes with packages need the packages of the image as well.
//!     base: None,
//!     portage: None,
//!     root: None,
//!     links: BaseTree::new(),
//! };
//! let store = Store::at("cache");
//! let built = build(&recipe, &target, recipe.format(None), &store, &|step| eprintln!("{step}"))?;
//! println!("{} with {} packages", built.extension.path, built.packages.len());
//! # Ok(())
//! # }
//! ```
//!
//! Steps and their modules:
//!
//! - [`recipe`]: the file format
//! - `source`: one trait for all sources, and an implementation for each
//! - [`debian`], [`gentoo`], `archive`, `image`, `tree`: the formats of the sources
//! - [`stage`]: the tree before it is packed
//! - `finish`, `mangle`, `etc_tmpfiles`: changes to the complete tree
//! - [`release_file`] and [`compatible()`]: the extension-release file, and whether systemd-sysext merges
//!   the extension
//! - [`lint`]: the rules for faults that break extensions, built ones and images
//! - [`elf`] and `linkage`: missing libraries
//! - [`pack`]: the image formats; [`signing`]: the key pair of signed ones
//! - [`Activation`]: what the files of an extension ask of systemd; `unit_file`: units and drop-ins
//! - [`describe`]: the files about an extension
//! - [`build()`]: all steps together, with results kept in the store
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests unwrap at once"))]

mod activation;
mod archive;
mod attributes;
mod base_extensions;
mod build;
mod build_error;
mod compatible;
pub mod debian;
pub mod describe;
pub mod elf;
mod etc_tmpfiles;
mod explain;
mod extension;
mod fetch;
mod finish;
mod foreign_file;
pub mod gentoo;
mod globs;
mod image;
mod linkage;
pub mod lint;
mod mangle;
mod member;
mod namespace;
mod origin;
mod owned_files;
mod owner;
pub mod pack;
pub mod recipe;
mod recipe_reader;
/// The extension-release file.
pub mod release_file;
mod rescan;
/// The key pair that signs an image.
pub mod signing;
mod source;
/// The tree before it is packed.
pub mod stage;
mod tar_guard;
mod target;
mod tree;
mod tree_digest;
mod unit_file;
mod unpack;
/// The comparisons that the versions of all package formats share.
pub mod version_order;

pub use activation::Activation;
pub use archive::ArchiveError;
pub use build::{Built, build, check_reproducible, explain as explain_packages};
pub use build_error::BuildError;
pub use compatible::{Refusal, compatible};
pub use debian::{DebianArchiveError, Package};
pub use explain::{Explained, Explanation, Need};
pub use extension::{Extension, Format};
pub use fetch::FetchError;
pub use foreign_file::ForeignFile;
pub use image::ImageError;
pub use mangle::MangleError;
pub use member::NameError;
pub use owned_files::CollisionError;
pub use owner::Owner;
pub use recipe::{Recipe, RecipeError};
pub use rescan::RescanError;
pub use source::SourceError;
pub use target::Target;
pub use tree::TreeError;
pub use unpack::{UnpackCause, UnpackError};
