// SPDX-License-Identifier: Apache-2.0
//! Assertions about a guest, one file per kind.
mod finding;

pub use crate::guest::Transcript;
pub use finding::{Finding, Outcome};
