// SPDX-License-Identifier: Apache-2.0
//! The sources of an extension's files.
//!
//! - [`Source`]: what the build knows of a source
//! - [`of_recipe()`]: the sources that a recipe uses, the only place that knows them all
//! - `debian`, `gentoo`, `archive`, `image`, `tree`, `file`: one source each
//! - [`SourceError`]: why a source cannot be used
mod archive;
mod choice;
mod debian;
mod error;
mod file;
mod gentoo;
mod image;
mod traits;
mod tree;

pub use error::SourceError;

pub(super) use choice::of_recipe;
pub(super) use traits::{AboutPackage, Contents, Context, RequestedPackage, Source};
