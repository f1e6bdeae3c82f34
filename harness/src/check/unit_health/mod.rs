// SPDX-License-Identifier: Apache-2.0
//! The health of units: one judge for checks of units, for changes of extensions, and for sweeps.
//!
//! - `report`: what systemd and the journal say of a unit, read from one command
//! - `message`: the messages of systemd and of the unit in the journal
//! - `exit`: what an exit status means
//! - `explanation`: why a unit is not active, for people, and the hint
//! - `settle`: waits until units stay active, or cannot become so
mod exit;
mod explanation;
mod message;
mod report;
mod settle;

pub(super) use message::FAILED;
pub(super) use report::{MARK as REPORT_MARK, UnitReport, read_reports, shell_function};
pub use settle::SETTLE;
pub(super) use settle::settled;
