// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;

use super::ReportError;
use crate::runner::Event;

/// Interval at which reports are called without an event.
const TICK: Duration = Duration::from_secs(1);

/// A consumer of events.
pub(crate) trait Report: Send {
    /// Takes an event.
    ///
    /// # Errors
    /// The report cannot be written. It gets no further events.
    fn event(&mut self, event: &Event) -> Result<(), ReportError>;

    /// Called while there is no event; `now_us` is in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// The report cannot be written.
    fn tick(&mut self, _now_us: u64) -> Result<(), ReportError> {
        Ok(())
    }

    /// Called when another report cannot be written.
    fn other_failed(&mut self, _error: &ReportError) {}

    /// Ends the report after the last event.
    ///
    /// # Errors
    /// The report cannot be written.
    fn finish(&mut self) -> Result<(), ReportError>;
}

/// Passes every event to every report until all senders are dropped, then ends the reports in order.
///
/// The report for the user comes last, so that it can show which others failed. Reports write files and
/// therefore have a thread of their own. The channel is unbounded: events are few, and none may be lost or
/// delay a machine.
///
/// # Errors
/// The errors of all reports that could not be written. Such a run is broken, whatever its outcomes.
pub(crate) async fn consume(
    receiver: UnboundedReceiver<Event>,
    reports: Vec<Box<dyn Report>>,
) -> Result<(), Vec<ReportError>> {
    let runtime = Handle::current();
    let task = tokio::task::spawn_blocking(move || consume_blocking(&runtime, receiver, reports));
    task.await.unwrap_or_else(|error| Err(vec![ReportError::Panicked { message: error.to_string() }]))
}

fn consume_blocking(
    runtime: &Handle,
    mut receiver: UnboundedReceiver<Event>,
    reports: Vec<Box<dyn Report>>,
) -> Result<(), Vec<ReportError>> {
    let mut reports = Reports::new(reports);
    loop {
        match runtime.block_on(async { tokio::time::timeout(TICK, receiver.recv()).await }) {
            Ok(Some(event)) => reports.each(|report| report.event(&event)),
            Ok(None) => break,
            Err(_elapsed) => {
                let now_us = microseconds_now();
                reports.each(|report| report.tick(now_us));
            }
        }
    }
    reports.finish()
}

/// Makes reports again from the events of an earlier run.
///
/// # Errors
/// The errors of all reports that could not be written.
pub(crate) fn replay<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    reports: Vec<Box<dyn Report>>,
) -> Result<(), Vec<ReportError>> {
    let mut reports = Reports::new(reports);
    for event in events {
        reports.each(|report| report.event(event));
    }
    reports.finish()
}

/// The reports of a run, and the errors of those that failed.
struct Reports {
    /// `None` for a report that failed
    active: Vec<Option<Box<dyn Report>>>,
    errors: Vec<ReportError>,
}

impl Reports {
    fn new(reports: Vec<Box<dyn Report>>) -> Self {
        Self { active: reports.into_iter().map(Some).collect(), errors: Vec::new() }
    }

    fn each(&mut self, mut action: impl FnMut(&mut dyn Report) -> Result<(), ReportError>) {
        for index in 0..self.active.len() {
            let Some(report) = &mut self.active[index] else { continue };
            if let Err(error) = action(report.as_mut()) {
                self.active[index] = None;
                self.active.iter_mut().flatten().for_each(|other| other.other_failed(&error));
                self.errors.push(error);
            }
        }
    }

    fn finish(mut self) -> Result<(), Vec<ReportError>> {
        self.each(|report| report.finish());
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}

fn microseconds_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use loadgauge_host::FileError;
    use loadgauge_host::error::on_one_line;

    use super::*;

    use crate::report::rendered_file::RenderedFile;
    use crate::report::{JsonLines, json_lines, junit, testing};

    /// Records its calls, and fails at its `fails_at`-th event.
    struct RecordingReport {
        calls: Arc<Mutex<Vec<String>>>,
        fails_at: Option<usize>,
        count: usize,
    }

    impl RecordingReport {
        fn new(fails_at: Option<usize>) -> (Self, Arc<Mutex<Vec<String>>>) {
            let calls = Arc::new(Mutex::new(Vec::new()));
            (Self { calls: Arc::clone(&calls), fails_at, count: 0 }, calls)
        }

        fn record(&self, call: impl Into<String>) {
            self.calls.lock().expect("not poisoned").push(call.into());
        }
    }

    impl Report for RecordingReport {
        fn event(&mut self, event: &Event) -> Result<(), ReportError> {
            self.count += 1;
            if Some(self.count) == self.fails_at {
                let source = std::io::Error::other("disk on fire");
                return Err(FileError::at("write", "events.jsonl")(source).into());
            }
            self.record(event.time_us.to_string());
            Ok(())
        }

        fn other_failed(&mut self, error: &ReportError) {
            self.record(on_one_line(error));
        }

        fn finish(&mut self) -> Result<(), ReportError> {
            self.record("finish");
            Ok(())
        }
    }

    #[test]
    fn every_report_can_be_made_again_from_the_events() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name| camino::Utf8Path::from_path(directory.path()).expect("UTF-8").join(name);
        let events_file = path("events.jsonl");
        let first: Vec<Box<dyn Report>> = vec![
            Box::new(JsonLines::create(&events_file).expect("created")),
            Box::new(RenderedFile::new(path("first.xml"), junit::render)),
        ];
        replay(&testing::complete_run(), first).expect("written");
        let events = json_lines::read(&events_file).expect("read");
        replay(&events, vec![Box::new(RenderedFile::new(path("second.xml"), junit::render))])
            .expect("written");
        let read = |name| std::fs::read_to_string(path(name)).expect("read");
        assert_eq!(read("first.xml"), read("second.xml"));
        assert!(read("first.xml").contains("program prints its own line"));
    }

    #[tokio::test]
    async fn no_event_is_lost_and_the_others_are_called_when_a_report_fails() {
        let (good, calls) = RecordingReport::new(None);
        let (bad, bad_calls) = RecordingReport::new(Some(2));
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let consumer = tokio::spawn(consume(receiver, vec![Box::new(bad), Box::new(good)]));
        let events = testing::complete_run();
        for event in &events {
            sender.send(event.clone()).expect("the consumer lives");
        }
        drop(sender);
        let errors = consumer.await.expect("no panic").expect_err("one report failed");
        assert_eq!(errors.len(), 1);
        let mut expected: Vec<String> = events.iter().map(|event| event.time_us.to_string()).collect();
        expected.insert(1, "cannot write `events.jsonl`: disk on fire".to_owned());
        expected.push("finish".to_owned());
        assert_eq!(*calls.lock().expect("not poisoned"), expected);
        assert_eq!(bad_calls.lock().expect("not poisoned").len(), 1, "a failed report gets no more");
    }
}
