// SPDX-License-Identifier: Apache-2.0
//! Rules for faults that break extensions on Flatcar and can be found without a guest. Each rule is for a
//! fault that has happened.
//!
//! The same rules judge a tree that is about to be packed and an image that the user brings: they are pure
//! functions of what was read on the host.
//!
//! - [`Content`]: what the rules look at in an extension; `read`: how it is read
//! - [`Base`]: the facts of an image, with [`BaseTree`] (its files) and [`Accounts`] (its users)
//! - [`check`]: the rules; [`judge`]: the rules for a target; [`Finding`]: a fault
//! - `release_text`: extension-release files, as systemd parses them
//! - [`overlaps`]: files that are in two extensions
mod accounts;
mod base;
mod base_tree;
mod content;
mod finding;
mod foreign;
mod judge;
mod overlap;
mod read;
mod release_text;
mod rules;
mod similar;

pub use accounts::Accounts;
pub use base::Base;
pub use base_tree::{BaseNode, BaseTree};
pub use content::{Content, Entry, Kind, Packed};
pub use finding::{Finding, Severity};
pub use foreign::judge_foreign;
pub use judge::judge;
pub use overlap::overlaps;
pub use rules::check;

pub(crate) use judge::{judge_content, judge_merge};

/// The files under /usr of a base, where they are known.
pub type BaseLinks = BaseTree;
