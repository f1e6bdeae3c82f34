// SPDX-License-Identifier: Apache-2.0
//! Fuzzes all readers of foreign bytes, with the stable compiler.
//!
//! - [`targets`]: the readers, with the rules that they must keep
//! - [`Mutator`]: makes random changes to sound inputs, reproducible with a seed
//! - [`Run`]: feeds inputs to a target until it panics
#![expect(clippy::disallowed_methods, reason = "a target is a test, and is ended by its runner")]
mod canary;
mod mutator;
mod run;
pub mod targets;

pub use mutator::Mutator;
pub use run::{Failure, Run};
