// SPDX-License-Identifier: Apache-2.0
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::event::milliseconds;
use super::{EventKind, Events, Limits, ScenarioId};

/// What a scenario waits for. An event is emitted when a wait begins and when it takes too long.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    scenario: ScenarioId,
    events: Events,
    what: Arc<Mutex<String>>,
}

impl Wait {
    pub(super) fn new(scenario: &ScenarioId, events: &Events) -> Self {
        Self { scenario: scenario.clone(), events: events.clone(), what: Arc::default() }
    }

    /// Begins a wait.
    pub(super) fn begin(&self, what: &str) {
        what.clone_into(&mut self.what.lock().unwrap_or_else(PoisonError::into_inner));
        self.events.emit(EventKind::Waiting { scenario: self.scenario.clone(), what: what.to_owned() });
    }

    /// The object of the current wait.
    pub(super) fn what(&self) -> String {
        self.what.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Awaits an operation that should take `limit` at most, and emits a warning when it takes longer. The
    /// operation gets [`Limits::GIVE_UP`] times the limit and must fail then.
    pub(super) async fn with_warning<T>(
        &self,
        limit: Duration,
        operation: impl AsyncFnOnce(Duration) -> T,
    ) -> T {
        tokio::select! {
            biased;
            result = operation(limit * Limits::GIVE_UP) => result,
            never = self.warn(limit) => match never {},
        }
    }

    /// Emits a warning after `limit`, and returns after [`Limits::GIVE_UP`] times the limit.
    pub(super) async fn overrun(&self, limit: Duration) {
        self.warn_after(limit).await;
        sleep(limit * (Limits::GIVE_UP - 1)).await;
    }

    async fn warn(&self, limit: Duration) -> Infallible {
        self.warn_after(limit).await;
        std::future::pending().await
    }

    async fn warn_after(&self, limit: Duration) {
        sleep(limit).await;
        self.events.emit(EventKind::Overdue {
            scenario: self.scenario.clone(),
            what: self.what(),
            expected_ms: milliseconds(limit),
            limit_ms: milliseconds(limit * Limits::GIVE_UP),
        });
    }
}
