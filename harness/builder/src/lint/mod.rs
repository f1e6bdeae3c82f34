// SPDX-License-Identifier: Apache-2.0
//! Rules for faults that break extensions on Flatcar and can be found without a guest. Each rule is for a
//! fault that has happened.
//!
//! - [`Finding`]: a fault
//! - `rules`: a tree, alone and together with its base
//! - `units`: the programs of its units
//! - [`BaseTree`]: the files of a base
//! - [`overlaps`]: files that are in two extensions
mod base_tree;
mod finding;
mod overlap;
mod rules;
mod units;

pub use base_tree::{BaseNode, BaseTree};
pub use finding::Finding;
pub use overlap::overlaps;
pub use rules::check;

/// The files under /usr of a base, where they are known.
pub type BaseLinks = BaseTree;
