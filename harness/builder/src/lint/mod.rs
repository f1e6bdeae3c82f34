// SPDX-License-Identifier: Apache-2.0
//! What breaks extensions on Flatcar, as far as it can be told without a guest. Each rule stands for
//! something that has happened.
//!
//! - `rules`: one tree, alone and against its base
//! - `units`: what its units run
//! - [`BaseTree`]: what lies in a base
//! - [`overlaps`]: two extensions that bring the same file
mod base_tree;
mod overlap;
mod rules;
mod units;

pub use base_tree::{BaseNode, BaseTree};
pub use overlap::overlaps;
pub use rules::{Finding, check};

/// What lies under /usr of a base, where it is known.
pub type BaseLinks = BaseTree;
