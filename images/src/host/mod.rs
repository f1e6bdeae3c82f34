// SPDX-License-Identifier: Apache-2.0
//! What this project needs of the host: its tools, and a place to keep what was made.
mod command;
mod kept_digest;
mod prune;
mod store;
mod tool;

pub use command::{CommandError, CommandExt, quote};
pub use kept_digest::{Algorithm, kept_digest};
pub use prune::{Bounds, Kept};
pub use store::{Entry, Store, StoreError, Vacancy};
pub use tool::{MissingTool, Tool};
