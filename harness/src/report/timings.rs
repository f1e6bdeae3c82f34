// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use super::{Report, ReportError};
use crate::check::Outcome;
use crate::runner::{Event, EventKind, Timings};

/// Stores the durations of scenarios that passed, for the order of the next run. A scenario that failed may
/// have ended early or waited for a time-out.
#[derive(Debug)]
pub(super) struct TimingsReport {
    timings: Timings,
    measured: BTreeMap<String, u64>,
}

impl TimingsReport {
    /// A report that adds to these timings when the run ends.
    pub(super) fn new(timings: Timings) -> Self {
        Self { timings, measured: BTreeMap::new() }
    }
}

impl Report for TimingsReport {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if let EventKind::ScenarioFinished { scenario, outcome: Outcome::Passed, duration_ms, .. } =
            &event.kind
        {
            // Of several repetitions the last counts.
            self.measured.insert(scenario.name.clone(), *duration_ms);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        // The loss only makes the next run longer, so this run is not broken.
        if let Err(error) = self.timings.remember(&self.measured) {
            tracing::warn!(%error, "cannot store the durations of the scenarios");
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
    fn only_scenarios_that_passed_are_stored() {
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
