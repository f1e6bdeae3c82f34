// SPDX-License-Identifier: Apache-2.0
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::event::milliseconds;
use super::{EventKind, Events, Limits, ScenarioId};

/// The interval at which the load of the host is measured.
const INTERVAL: Duration = Duration::from_secs(1);
/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(10);

/// What a scenario waits for. An event is emitted when a wait begins and when it takes too long.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    scenario: ScenarioId,
    events: Events,
    what: Arc<Mutex<String>>,
    slowdown: Arc<Mutex<Slowdown>>,
}

/// Measures how many times longer the machines take than on an idle host.
struct Slowdown(Box<dyn Fn() -> f64 + Send>);

impl Default for Slowdown {
    fn default() -> Self {
        Self(Box::new(|| 1.0))
    }
}

impl fmt::Debug for Slowdown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Slowdown")
    }
}

impl Wait {
    pub(super) fn new(scenario: &ScenarioId, events: &Events) -> Self {
        let (what, slowdown) = (Arc::default(), Arc::default());
        Self { scenario: scenario.clone(), events: events.clone(), what, slowdown }
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

    /// Measures from now on how much the host slows the machines down.
    pub(super) fn slowed_by(&self, slowdown: impl Fn() -> f64 + Send + 'static) {
        *self.slowdown.lock().unwrap_or_else(PoisonError::into_inner) = Slowdown(Box::new(slowdown));
    }

    fn slowdown(&self) -> f64 {
        (self.slowdown.lock().unwrap_or_else(PoisonError::into_inner).0)().max(1.0)
    }

    /// Emits a warning after `limit`, and returns after [`Limits::GIVE_UP`] times the limit; later if the host
    /// slows the machines down.
    pub(super) async fn overrun(&self, limit: Duration) {
        self.warn_after(limit).await;
        let mut left = limit * (Limits::GIVE_UP - 1);
        while !left.is_zero() {
            let slice = left.clamp(SHORTEST, INTERVAL);
            sleep(slice).await;
            left = left.saturating_sub(slice.div_f64(self.slowdown()));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_host_has_more_time() {
        let (events, _receiver) = Events::channel();
        let wait = Wait::new(&"hello".into(), &events);
        let limit = Duration::from_millis(200);
        let overrun = async || {
            let begun = tokio::time::Instant::now();
            wait.overrun(limit).await;
            begun.elapsed()
        };
        assert!(overrun().await >= limit * 2);
        wait.slowed_by(|| 4.0);
        assert!(overrun().await >= limit * 4, "the second half takes longer");
    }
}
