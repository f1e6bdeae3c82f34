// SPDX-License-Identifier: Apache-2.0
//! Assertions about a guest, one file per kind.
//!
//! Each kind is a struct that a scenario file's table is read into. What it concludes from the
//! guest's words is a pure function over captured output; asking for them is a few lines beside it.
//!
//! - [`Check`]: one of the kinds; [`judge_within`] repeats it until it holds
//! - [`Sweep`]: what is looked at around every scenario, unasked; [`sweep()`]
//! - [`Finding`]: what a check found, with the commands that it ran to find out
mod change;
mod containerd;
mod docker;
mod duration;
mod file;
mod finding;
mod inquiry;
mod judgement;
mod kind;
mod merged;
mod oci;
mod overlay;
mod probe;
mod reboot;
mod run;
mod sweep;
mod text;
mod unit;

pub use self::change::{Change, Expectation, Swap};
pub use self::containerd::ContainerdCheck;
pub use self::docker::{DockerCheck, OneOrMany};
pub use self::file::{FileCheck, FileKind};
pub use self::finding::{Finding, Outcome};
pub use self::judgement::Judgement;
pub use self::kind::{Check, judge_within};
pub use self::merged::MergedCheck;
pub use self::overlay::OverlayCheck;
pub use self::reboot::judge_reboot;
pub use self::run::{RunCheck, User};
pub use self::sweep::{Sweep, sweep};
pub use self::text::{Pattern, Text};
pub use self::unit::{UnitCheck, UnitState};
pub use crate::guest::Transcript;
