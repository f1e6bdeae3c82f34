// SPDX-License-Identifier: Apache-2.0
//! Executes a plan: schedules machines, runs steps, emits events.
mod event;
mod verdict;

pub use event::{Cause, Counts, Event, EventKind, FORMAT};
pub use verdict::{FlakyPolicy, Verdict};
