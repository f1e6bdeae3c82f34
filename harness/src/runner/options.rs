// SPDX-License-Identifier: Apache-2.0
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Events, KeepPolicy, Limits};

/// What all scenarios of a run have in common.
#[derive(Debug)]
pub(super) struct RunOptions {
    pub(super) limits: Limits,
    pub(super) retries: u32,
    pub(super) keep: KeepPolicy,
    /// how many more machines can be left running
    pub(super) keepable: Semaphore,
    pub(super) events: Events,
    pub(super) interrupted: CancellationToken,
}
