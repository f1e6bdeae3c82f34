// SPDX-License-Identifier: Apache-2.0
//! The builder: recipe, sources, staged tree, image.
mod extension;

pub use extension::{Extension, Format};
