// SPDX-License-Identifier: Apache-2.0
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::execute::milliseconds;
use super::{EventKind, Events, Limits};

/// What a scenario waits for, told when it begins and again when it takes too long.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    scenario: String,
    events: Events,
    what: Arc<Mutex<String>>,
}

impl Wait {
    pub(super) fn new(scenario: &str, events: &Events) -> Self {
        Self { scenario: scenario.to_owned(), events: events.clone(), what: Arc::default() }
    }

    /// A wait begins.
    pub(super) fn begin(&self, what: &str) {
        what.clone_into(&mut self.what.lock().unwrap_or_else(PoisonError::into_inner));
        self.events.emit(EventKind::Waiting { scenario: self.scenario.clone(), what: what.to_owned() });
    }

    /// What is waited for now.
    pub(super) fn what(&self) -> String {
        self.what.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for something that should take `limit` at most, and says so when it takes longer. It is
    /// told twice as long as its own limit, and must give itself up then.
    pub(super) async fn with_warning<T>(
        &self,
        limit: Duration,
        wanted: impl AsyncFnOnce(Duration) -> T,
    ) -> T {
        tokio::select! {
            biased;
            got = wanted(limit * Limits::GIVE_UP) => got,
            never = self.warn(limit) => match never {},
        }
    }

    /// Says what is waited for once `limit` has passed, and ends when [`Limits::GIVE_UP`] times as
    /// long has.
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
