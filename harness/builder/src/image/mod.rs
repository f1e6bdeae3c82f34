// SPDX-License-Identifier: Apache-2.0
//! Existing images of extensions as a source: `[[image]]` of a recipe.
//!
//! - `source`: the section, resolved, extracted and staged; `staging`: the extracted tree, file by file
mod error;
mod source;
mod staging;

pub use error::ImageError;

pub(super) use source::stage;
