// SPDX-License-Identifier: Apache-2.0
use crate::check::{Change, Check, Sweep};

/// What a step does in a guest.
#[derive(Debug, Clone)]
pub enum GuestOperation {
    /// a check of the scenario
    Check(Box<Check>),
    /// a sweep, which every scenario gets
    Sweep(Sweep),
    /// a change of the merged extensions, with the check of its result
    Change(Box<Change>),
}
