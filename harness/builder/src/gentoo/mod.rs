// SPDX-License-Identifier: Apache-2.0
//! Gentoo's binary packages as a source of an extension.
//!
//! - [`version`], [`atom`] with `use_dependency`, [`dependency`]: the dependency language
//! - [`index`], [`xpak`], [`gpkg`] with `manifest`, [`compression`], [`binary`]: the files of a binhost
//! - [`package`]: the metadata of a package
//! - `binhost` with `remote_index`, [`database`] with `base`: available and installed packages
//! - [`pool`]: the packages of a resolution, with `provided` and `use_rule`
//! - [`resolve()`] with `backtracking`, `depgraph`, `choice`, `alternative`, `requirement`: the packages to
//!   be added
//! - `section`, `select`, [`selection`](Selection), `staging`: the `[[gentoo]]` sections of
//!   a recipe
//! - `install_mask`, `provided`, `sdk`: the settings of Flatcar's SDK
//! - `pkginfo`: the package database of the extension
//! - `decompression`: decompresses packages side by side
//! - `environment`: the variables of an ebuild
//! - `library_packages`: the packages that contain a library
mod alternative;
/// Package dependency specifications.
pub mod atom;
mod backtracking;
mod base;
/// Package files in either format.
pub mod binary;
mod binhost;
mod binhost_error;
mod choice;
/// Compression of the tar in a package.
pub mod compression;
/// Installed packages.
pub mod database;
mod decompression;
/// Dependency specifications.
pub mod dependency;
mod depgraph;
mod environment;
mod error;
/// Package files in the gpkg format.
pub mod gpkg;
/// The index of a binhost.
pub mod index;
mod install_mask;
mod library_packages;
mod manifest;
/// The metadata of a package.
pub mod package;
mod pkginfo;
/// The packages of a resolution.
pub mod pool;
mod provided;
mod remote_index;
mod requirement;
mod resolve;
mod resolve_error;
mod sdk;
mod section;
mod select;
mod selection;
mod staging;
mod use_dependency;
mod use_rule;
/// Versions and their order.
pub mod version;
/// Package files in the xpak format, which Flatcar uses.
pub mod xpak;

pub use error::GentooError;
pub use resolve::{ProvidedPackage, Resolution, ResolvedPackage, resolve};
pub use resolve_error::ResolveError;
pub use selection::{SelectedPackage, Selection};

pub(super) use library_packages::packages_of_library;
pub(super) use section::{check as check_section, requested};
pub(super) use select::select;
pub(super) use selection::key;
pub(super) use staging::{StagedPackages, stage};
