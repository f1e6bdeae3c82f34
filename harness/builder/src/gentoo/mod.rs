// SPDX-License-Identifier: Apache-2.0
//! Gentoo's binary packages as a source of an extension.
//!
//! - [`version`], [`atom`] with [`use_dependency`], [`dependency`]: the language that packages speak
//!   of each other in
//! - [`index`], [`xpak`], [`gpkg`] with [`manifest`], [`compression`]: the files of a binhost
//! - [`package`]: a built package, wherever it was read
//! - [`binhost`] and `base`, [`binary`], [`source`]: where packages come from, and the `[[gentoo]]` of a recipe
//! - [`world`], [`resolve()`] with `attempt`, `choice` and `wish`, [`refusal`]: which packages are to be added
/// Which packages are meant.
pub mod atom;
mod backtracking;
mod base;
/// Package files of either format.
pub mod binary;
/// Places with packages.
pub mod binhost;
mod choice;
/// How the tar inside a package is compressed.
pub mod compression;
/// Packages that are installed.
pub mod database;
/// What a package needs.
pub mod dependency;
/// Package files in Gentoo's format.
pub mod gpkg;
/// The index of a binhost.
pub mod index;
mod install_mask;
/// Digests inside a gpkg package.
pub mod manifest;
/// A built package.
pub mod package;
mod pkginfo;
mod provided;
/// Why packages cannot be had.
pub mod refusal;
mod remote_index;
mod requirement;
/// Which packages are to be added.
pub mod resolve;
mod section;
/// The packages of a recipe.
pub mod source;
/// What is asked of a USE flag.
pub mod use_dependency;
/// Versions and their order.
pub mod version;
/// All packages that a resolution knows.
pub mod world;
/// Package files in Portage's older format, which Flatcar uses.
pub mod xpak;

pub use base::BaseError;
pub use refusal::Refusal;
pub use resolve::{Resolution, Taken, resolve};
pub(super) use section::check as check_section;
pub use source::{Chosen, GentooError, Selection};
pub(super) use source::{StagedPackages, bringing, key, requested, select, stage};
