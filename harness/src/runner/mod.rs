// SPDX-License-Identifier: Apache-2.0
//! Executes a plan: schedules machines, runs steps, emits events.
//!
//! [`run`] takes [`Job`]s, one per scenario, and a [`MachineProvider`] that starts their machines. Every
//! result leaves through [`Events`]. The last event is always `run-finished`, also when the run is
//! interrupted or the task of a scenario panics.
//!
//! - A failed check does not end its scenario: the remaining steps still say something about the guest.
//! - A broken step, a failed reboot and the death of a machine end the scenario. The remaining steps are
//!   reported as skipped, with the reason.
//! - A scenario that did not pass can be retried on a new machine. If it passes then, it is flaky.
//! - Slow operations are reported with what they wait for, and fail at twice their limit.
mod attempts;
mod budget;
mod capacity;
mod cgroup;
mod diagnosis;
mod directory;
mod end_reason;
mod event;
mod events;
mod execute;
mod flaky_policy;
mod from_plan;
mod interrupt;
mod job;
mod liveness;
mod operation;
mod options;
mod panic;
mod provider;
mod qemu_provider;
mod registry;
mod retained;
mod running_machine;
mod schedule;
#[cfg(test)]
mod scripted;
mod start_order;
#[cfg(test)]
mod tests;
mod timings;
mod verdict;
mod wait;

pub use crate::scenario::ScenarioId;
pub use budget::{Budget, Needs};
pub use capacity::Capacity;
pub use cgroup::{MemoryLimit, memory_limits};
pub use diagnosis::hint_for;
pub use directory::{DirectoryError, RunDirectory};
pub use event::{Cause, Counts, Event, EventKind, FORMAT};
pub use events::Events;
pub use flaky_policy::FlakyPolicy;
pub use interrupt::{Claim, Interrupt};
pub use job::{Action, Job, JobStep, KeepPolicy, Limits, Run, RunHeader, Skipped, StepRole};
pub use operation::GuestOperation;
pub use provider::{GuestReady, MachineProvider, SshAccess, StartFailure, TestMachine};
pub use qemu_provider::QemuProvider;
pub use registry::{Registry, RegistryError, RetainedMachine};
pub use retained::{RetainError, RetainedMachines};
pub use running_machine::RunningMachine;
pub use schedule::{RunResult, run};
pub use start_order::StartOrder;
pub use timings::Timings;
pub use verdict::Verdict;
