// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use super::{Report, ReportError};
use crate::check::Outcome;
use crate::runner::{Event, EventKind, Timings};

/// Remembers how long scenarios took that passed, for the order of the next run. One that failed may
/// have ended early, or have waited for what never came: it says nothing.
#[derive(Debug)]
pub struct TimingsReport {
    timings: Timings,
    measured: BTreeMap<String, u64>,
}

impl TimingsReport {
    /// A report that will be added to these timings when the run ends.
    pub fn new(timings: Timings) -> Self {
        Self { timings, measured: BTreeMap::new() }
    }
}

impl Report for TimingsReport {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if let EventKind::ScenarioFinished { scenario, outcome: Outcome::Passed, duration_ms, .. } =
            &event.kind
        {
            // Repetitions are the same scenario: the last of them counts.
            let name = scenario.split('@').next().unwrap_or(scenario);
            self.measured.insert(name.to_owned(), *duration_ms);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        // It only makes the next run longer: no reason to call this one broken.
        if let Err(error) = self.timings.remember(&self.measured) {
            tracing::warn!(%error, "how long the scenarios took cannot be kept");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use loadgauge_host::Store;

    use super::*;
    use crate::machine::Accelerator;
    use crate::report::testing;

    #[test]
    fn only_what_passed_is_remembered() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(camino::Utf8Path::from_path(directory.path()).expect("UTF-8"));
        let timings = Timings::of(&store, Accelerator::Tcg);
        let mut report = TimingsReport::new(timings.clone());
        for event in testing::flaky_run() {
            report.event(&event).expect("taken");
        }
        report.finish().expect("kept");
        let expected = timings.expected().into_iter().collect::<Vec<_>>();
        assert_eq!(expected, [("hello".to_owned(), Duration::from_millis(31_250))]);
    }
}
