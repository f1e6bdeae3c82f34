// SPDX-License-Identifier: Apache-2.0
//! Executes a plan: schedules machines, runs steps, emits events.
mod event;

pub use event::{Cause, Counts, Event, EventKind, FORMAT};
