// SPDX-License-Identifier: Apache-2.0
//! The build of an extension.
//!
//! - `operations`: [`build()`], [`explain()`] and [`check_reproducible()`]
//! - `plan`: everything that is known before the build, with the key of its result
//! - `assembly`: the build itself: stage, finish, lint, pack, describe
//! - `result`: [`Built`], which is kept beside the extension
mod assembly;
mod operations;
mod plan;
mod result;

pub use operations::{build, check_reproducible, explain};
pub use result::Built;
