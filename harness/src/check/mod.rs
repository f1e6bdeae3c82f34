// SPDX-License-Identifier: Apache-2.0
//! Assertions about a guest, one file per kind.
mod finding;
mod stub;

pub use finding::{Finding, Outcome, Transcript};
pub use stub::*;
