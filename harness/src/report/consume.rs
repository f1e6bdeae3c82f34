// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;

use super::ReportError;
use crate::runner::Event;

/// How often reports may say something although nothing happened.
const TICK: Duration = Duration::from_secs(1);

/// Something that turns events into words.
pub trait Report: Send {
    /// Takes an event.
    ///
    /// # Errors
    /// The report cannot be written. It gets no further events then.
    fn event(&mut self, event: &Event) -> Result<(), ReportError>;

    /// Time has passed without an event; `now_us` is in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// The report cannot be written.
    fn tick(&mut self, _now_us: u64) -> Result<(), ReportError> {
        Ok(())
    }

    /// Hears that another report cannot be written.
    fn trouble(&mut self, _error: &ReportError) {}

    /// Ends the report; there are no further events.
    ///
    /// # Errors
    /// The report cannot be written.
    fn finish(&mut self) -> Result<(), ReportError>;
}

/// Hands every event to every report until the last sender is gone, then ends them in order.
///
/// The report that speaks to the user stands last, so that it can tell what befell the others.
/// Reports write files and therefore have a thread of their own. The channel is unbounded: events
/// are few, and none may be lost or hold a machine up.
///
/// # Errors
/// Every report that could not be written; such a run is broken, whatever its scenarios did.
pub async fn consume(
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
/// Every report that could not be written.
pub fn replay<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    reports: Vec<Box<dyn Report>>,
) -> Result<(), Vec<ReportError>> {
    let mut reports = Reports::new(reports);
    for event in events {
        reports.each(|report| report.event(event));
    }
    reports.finish()
}

/// Reports, and what became of them.
struct Reports {
    /// a report that failed is no longer there
    living: Vec<Option<Box<dyn Report>>>,
    errors: Vec<ReportError>,
}

impl Reports {
    fn new(reports: Vec<Box<dyn Report>>) -> Self {
        Self { living: reports.into_iter().map(Some).collect(), errors: Vec::new() }
    }

    fn each(&mut self, mut action: impl FnMut(&mut dyn Report) -> Result<(), ReportError>) {
        for index in 0..self.living.len() {
            let Some(report) = &mut self.living[index] else { continue };
            if let Err(error) = action(report.as_mut()) {
                self.living[index] = None;
                self.living.iter_mut().flatten().for_each(|other| other.trouble(&error));
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

    use super::*;
    use crate::report::{JUnit, JsonLines, json_lines, testing};

    /// Writes down what it is told, and fails at its `fails_at`-th event.
    struct Witness {
        seen: Arc<Mutex<Vec<String>>>,
        fails_at: Option<usize>,
        count: usize,
    }

    impl Witness {
        fn new(fails_at: Option<usize>) -> (Self, Arc<Mutex<Vec<String>>>) {
            let seen = Arc::new(Mutex::new(Vec::new()));
            (Self { seen: Arc::clone(&seen), fails_at, count: 0 }, seen)
        }

        fn note(&self, what: impl Into<String>) {
            self.seen.lock().expect("not poisoned").push(what.into());
        }
    }

    impl Report for Witness {
        fn event(&mut self, event: &Event) -> Result<(), ReportError> {
            self.count += 1;
            if Some(self.count) == self.fails_at {
                let source = std::io::Error::other("disk on fire");
                return Err(ReportError::Io { action: "write", path: "events.jsonl".into(), source });
            }
            self.note(event.time_us.to_string());
            Ok(())
        }

        fn trouble(&mut self, error: &ReportError) {
            self.note(error.with_causes());
        }

        fn finish(&mut self) -> Result<(), ReportError> {
            self.note("finish");
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
            Box::new(JUnit::new(path("first.xml"))),
        ];
        replay(&testing::run_of_everything(), first).expect("written");
        let events = json_lines::read(&events_file).expect("read");
        replay(&events, vec![Box::new(JUnit::new(path("second.xml")))]).expect("written");
        let read = |name| std::fs::read_to_string(path(name)).expect("read");
        assert_eq!(read("first.xml"), read("second.xml"));
        assert!(read("first.xml").contains("program prints its own line"));
    }

    #[tokio::test]
    async fn no_event_is_lost_and_a_failing_report_is_told_to_the_others() {
        let (good, seen) = Witness::new(None);
        let (bad, bad_seen) = Witness::new(Some(2));
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let consumer = tokio::spawn(consume(receiver, vec![Box::new(bad), Box::new(good)]));
        let events = testing::run_of_everything();
        for event in &events {
            sender.send(event.clone()).expect("the consumer lives");
        }
        drop(sender);
        let errors = consumer.await.expect("no panic").expect_err("one report failed");
        assert_eq!(errors.len(), 1);
        let mut expected: Vec<String> = events.iter().map(|event| event.time_us.to_string()).collect();
        expected.insert(1, "cannot write `events.jsonl`: disk on fire".to_owned());
        expected.push("finish".to_owned());
        assert_eq!(*seen.lock().expect("not poisoned"), expected);
        assert_eq!(bad_seen.lock().expect("not poisoned").len(), 1, "a failed report gets no more");
    }
}
