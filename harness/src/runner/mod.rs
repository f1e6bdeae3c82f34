// SPDX-License-Identifier: Apache-2.0
//! Executes a plan: schedules machines, runs steps, emits events.
//!
//! [`run`] takes [`Job`]s, one per scenario, and a [`MachineProvider`] that starts their machines. Everything
//! that happens leaves through [`Events`]; the last event is always `run-finished`, whether the
//! run came to its end, was interrupted, or a scenario's task panicked.
//!
//! - a failed check does not end its scenario: more is learnt from a boot when the other steps run
//!   as well
//! - a step that cannot be asked, a reboot that fails, and a machine that dies do end it, and the
//!   steps behind are reported as skipped, with the reason
//! - a scenario that did not pass may be tried again on a fresh machine; one that passes only then is
//!   flaky, and never simply passed
//! - what takes longer than it should is told while it is waited for, and given up at twice that
mod attempts;
mod budget;
mod capacity;
mod cgroup;
mod diagnosis;
mod directory;
mod end_reason;
mod event;
mod execute;
mod interrupt;
mod job;
mod liveness;
mod machines;
mod order;
mod plan;
mod provider;
mod registry;
mod retained;
mod schedule;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;
mod timings;
mod verdict;
mod wait;

pub use budget::{Budget, Needs};
pub use capacity::Capacity;
pub use cgroup::{MemoryLimit, memory_limits};
pub use diagnosis::{hint_for, outcome_of};
pub use directory::{DirectoryError, RunDirectory};
pub use event::{Cause, Counts, Event, EventKind, FORMAT};
pub use interrupt::Interrupt;
pub use job::{Action, Header, Job, JobStep, KeepPolicy, Limits, Run, Skipped};
pub use machines::{Assigned, Machines, RunningMachine};
pub use order::Order;
pub use plan::Question;
pub use provider::{Events, MachineProvider, SshAccess, StartFailure, TestMachine, Up};
pub use registry::{Registry, RegistryError, RetainedMachine};
pub use retained::{RetainError, RetainedMachines};
pub use schedule::{Tally, run};
pub use timings::Timings;
pub use verdict::{FlakyPolicy, Verdict};
