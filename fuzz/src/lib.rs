// SPDX-License-Identifier: Apache-2.0
//! Fuzzing of all readers of foreign bytes, with the stable compiler.
//!
//! - [`targets`]: the readers, with the rules that they must keep
//! - [`Mutator`]: sound inputs with random changes, the same for the same seed
//! - [`Run`]: feeds inputs until one makes a target panic
mod mutator;
mod run;
pub mod targets;

pub use mutator::Mutator;
pub use run::{Failure, Run};
