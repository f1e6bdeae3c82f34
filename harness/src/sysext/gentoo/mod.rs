// SPDX-License-Identifier: Apache-2.0
//! Gentoo's binary packages as a source of an extension.
//!
//! - [`version`], [`atom`] with [`use_dependency`], [`dependency`]: the language that packages speak
//!   of each other in
//! - [`index`], [`xpak`], [`gpkg`] with [`manifest`], [`compression`]: the files of a binhost
//! - [`package`]: a built package, wherever it was read
pub mod atom;
pub mod compression;
pub mod dependency;
pub mod gpkg;
pub mod index;
pub mod manifest;
pub mod package;
pub mod use_dependency;
pub mod version;
pub mod xpak;
