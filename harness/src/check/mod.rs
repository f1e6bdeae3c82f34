// SPDX-License-Identifier: Apache-2.0
//! Checks of a guest, one file per kind.
//!
//! Each kind is a struct that a table of a scenario file is deserialized into. It runs commands in the
//! guest and evaluates their output in a pure function.
//!
//! - [`Check`]: one of the kinds; [`check_within`] repeats it until it passes
//! - [`Sweep`]: checks that every scenario gets; [`sweep()`] makes all of them
//! - [`Change`]: changes of the merged extensions in a running guest
//! - [`Finding`]: the result of a check, with the commands that it ran
mod activate;
mod assertions;
mod change;
mod container;
mod containerd;
mod docker;
pub(crate) mod duration;
mod file;
mod finding;
mod kind;
mod merged;
mod oci;
mod one_or_many;
mod overlay;
mod probe;
mod reboot;
mod recorder;
mod run;
mod sweep;
mod system;
mod text;
mod unit;
mod unit_health;

pub use self::assertions::Assertions;
pub use self::change::{Change, Expectation, Swap};
pub use self::containerd::ContainerdCheck;
pub use self::docker::DockerCheck;
pub use self::file::{FileCheck, FileKind};
pub use self::finding::{Finding, Outcome};
pub use self::kind::{Check, check_within};
pub use self::merged::MergedCheck;
pub use self::one_or_many::OneOrMany;
pub use self::overlay::OverlayCheck;
pub use self::reboot::evaluate_reboot;
pub use self::run::{RunCheck, User};
pub use self::sweep::{Sweep, sweep};
pub(crate) use self::text::regex_message;
pub use self::text::{Pattern, Text};
pub use self::unit::{UnitCheck, UnitState};
pub use self::unit_health::SETTLE;
pub use crate::guest::Transcript;
