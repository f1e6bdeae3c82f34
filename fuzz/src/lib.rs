// SPDX-License-Identifier: Apache-2.0
//! Fuzzing of whatever reads bytes from outside, on the compiler that everything else is built with.
//!
//! - [`targets`]: what is fed, and what must hold of it
//! - [`Mutator`]: sound inputs, broken at random, the same for the same seed
//! - [`Run`]: many of them, and the first that makes a target panic
mod mutator;
mod run;
pub mod targets;

pub use mutator::Mutator;
pub use run::{Failure, Run};
