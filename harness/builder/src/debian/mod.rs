// SPDX-License-Identifier: Apache-2.0
//! Debian packages as a source of an extension.
//!
//! - [`Version`], [`relation`], `control`, `record`, `release`: the formats
//! - [`Index`]: the packages of a base or of an archive
//! - `resolve` with `lookup` and `search`: the packages to be added to a base
//! - `solution` and `unmet`: its result
//! - `archive`: an archive's indices, verified by its signature, and its package files
//! - `dpkg_status`: dpkg's database of the packages in an extension
//! - `base_files`: the files of the packages in a base
//! - `library_packages`: the packages that contain a library
//! - `deb`: package files
//! - `source`: the `[[debian]]` sections of a recipe
mod archive;
mod base_files;
mod control;
mod deb;
mod dpkg_status;
mod index;
mod library_packages;
mod lookup;
mod record;
/// Relations between packages.
pub mod relation;
mod release;
mod resolve;
mod search;
mod solution;
mod source;
mod unmet;
mod version;

pub use archive::{DebianArchiveError, Package};
pub use deb::{Unpacked, unpack as unpack_package};
pub use dpkg_status::DpkgStatusError;
pub use index::Index;
pub use source::DebianError;
pub use version::Version;

pub(super) use dpkg_status::dpkg_status;
pub(super) use library_packages::packages_of_library;
pub(super) use source::{Resolved, list, resolve_recipe, stage};
