// SPDX-License-Identifier: Apache-2.0
use std::io::{self, Write};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::Hint as _;
use loadgauge_host::error::on_one_line;

use super::progress::{self, Progress};
use super::record::{RunRecord, ScenarioRecord, StepRecord};
use super::style::{Styles, label, padded, paint};
use super::text::{duration, one_line, plural};
use super::{LogStream, Report, ReportError, commands_file, failure, summary};
use crate::check::Outcome;
use crate::runner::{Cause, Event, EventKind, ScenarioId};

/// Width of the column of labels.
const LABEL: usize = 8;
/// Width of the column of times.
const TIME: usize = 8;

/// The appearance of the terminal report.
#[derive(Debug, Clone)]
pub(crate) struct TerminalOptions {
    /// colours
    pub(super) styles: Styles,
    /// whether to show spinners
    pub(super) interactive: bool,
    /// columns of a line with a time
    pub(super) width: usize,
    /// the files of the other reports, listed at the end
    pub(crate) reports: Vec<Utf8PathBuf>,
}

impl TerminalOptions {
    /// The appearance for standard error.
    pub(crate) fn of_stderr() -> Self {
        Self {
            styles: Styles::of_stderr(),
            interactive: progress::stderr_is_interactive(),
            width: 100,
            reports: Vec::new(),
        }
    }
}

/// The report for the user: a line for each step, details of failures at once, and a summary at the end.
pub(crate) struct Terminal {
    out: Box<dyn Write + Send>,
    options: TerminalOptions,
    progress: Progress,
    record: RunRecord,
    /// the errors of other reports
    report_errors: Vec<String>,
}

impl Terminal {
    /// A report on standard error.
    pub(crate) fn on_stderr(options: TerminalOptions) -> Self {
        Self::new(Box::new(LogStream::of(io::stderr())), options)
    }

    /// A report on another stream; spinners stay on standard error.
    fn new(out: Box<dyn Write + Send>, options: TerminalOptions) -> Self {
        let progress = Progress::new(options.interactive);
        Self { out, options, progress, record: RunRecord::default(), report_errors: Vec::new() }
    }

    fn print(&mut self, lines: &[String]) -> Result<(), ReportError> {
        let mut text = lines.join("\n");
        if lines.is_empty() {
            return Ok(());
        }
        text.push('\n');
        let out = &mut self.out;
        let written = self.progress.suspend(|| out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        written.map_err(|source| ReportError::Stream { stream: "standard error", source })
    }

    /// A line with a label at its beginning and a time at its end.
    fn line(&self, label: &str, outcome: Outcome, scenario: &ScenarioId, text: &str, time_ms: u64) -> String {
        let styles = &self.options.styles;
        let label = padded(label, LABEL, styles.outcome(outcome));
        let names = self.name_width();
        let name =
            if names == 0 { String::new() } else { padded(&scenario.to_string(), names + 2, styles.name) };
        let used = 2 + LABEL + if names == 0 { 0 } else { names + 2 };
        let room = self.options.width.saturating_sub(used + TIME);
        let time = paint(format!("{:>TIME$}", duration(time_ms)), styles.dim);
        format!("  {label}{name}{text:<room$}{time}")
    }

    /// Width of the column of scenario names, or 0 where the lines of scenarios cannot mix.
    fn name_width(&self) -> usize {
        let Some(start) = &self.record.start else { return 0 };
        if start.jobs < 2 || start.scenarios.len() < 2 {
            return 0;
        }
        start.scenarios.iter().map(|id| id.to_string().chars().count()).max().unwrap_or(0)
    }

    fn start_lines(&self) -> Vec<String> {
        let Some(start) = &self.record.start else { return Vec::new() };
        let header = &start.header;
        let mut lines = vec![
            format!("loadgauge {} runs {}", header.version, plural(start.scenarios.len(), "scenario")),
            format!("  image     {} ({})", one_line(&header.image_name), header.image),
            format!("  machines  {}", summary::machines(start.jobs, &header.acceleration)),
        ];
        lines.extend(start.seed.map(|seed| format!("  order     shuffled with --seed {seed}")));
        lines.push(format!("  files     {}", header.directory));
        lines
    }

    fn heading(&self, scenario: &ScenarioId, text: &str, attempt: u32, steps: usize) -> Vec<String> {
        let name = paint(scenario, self.options.styles.name);
        let again = if attempt == 1 { String::new() } else { format!(", attempt {attempt}") };
        vec![String::new(), format!("{name}: {}, {}{again}", one_line(text), plural(steps, "step"))]
    }

    fn step(&self, scenario: &ScenarioId, step: &StepRecord) -> Vec<String> {
        let text = format!("{:>2}  {}", step.step, one_line(&step.summary));
        let mut lines = vec![self.line(label(step.outcome), step.outcome, scenario, &text, step.duration_ms)];
        let Some(finding) = &step.finding else { return lines };
        match step.outcome {
            Outcome::Passed => {}
            // After the death of a machine many steps have the same reason, which is shown once.
            Outcome::Skipped if self.reason_before(scenario) == Some(&finding.found) => {}
            Outcome::Skipped => lines.push(format!("          {}", one_line(&finding.found))),
            Outcome::Flaky | Outcome::Failed | Outcome::Broken => {
                let file =
                    self.directory(scenario).map(|path| path.join(commands_file(step.step, &step.summary)));
                let file = file.as_deref();
                lines.extend(failure::finding(finding, file, &self.options.styles));
            }
        }
        lines
    }

    /// The reason of the last step but one, if it was skipped.
    fn reason_before(&self, scenario: &ScenarioId) -> Option<&String> {
        let step = self.record.scenario(scenario)?.steps.iter().nth_back(1)?;
        let finding = step.finding.as_ref()?;
        (step.outcome == Outcome::Skipped).then_some(&finding.found)
    }

    fn end_of_scenario(&self, scenario: &ScenarioRecord) -> Vec<String> {
        let outcome = scenario.outcome.unwrap_or(Outcome::Broken);
        let attempts = match scenario.attempt {
            0 | 1 => String::new(),
            attempts => format!(", {}", plural(attempts as usize, "attempt")),
        };
        self.end(scenario, outcome, scenario.cause.as_ref(), scenario.duration_ms, &attempts)
    }

    /// The end of a scenario or of an attempt; `more` follows its duration.
    fn end(
        &self,
        scenario: &ScenarioRecord,
        outcome: Outcome,
        cause: Option<&Cause>,
        duration_ms: u64,
        more: &str,
    ) -> Vec<String> {
        let styles = &self.options.styles;
        let name = paint(&scenario.scenario, styles.name);
        let outcome = paint(outcome, styles.outcome(outcome));
        let time = duration(duration_ms);
        let Some(cause) = cause else { return vec![format!("{name}: {outcome} in {time}{more}")] };
        let records = scenario.directory.as_ref().map(|path| match &cause.machine {
            Some(machine) => path.join(machine),
            None => path.clone(),
        });
        let console_log = records.map(|path| path.join("console.log"));
        let mut lines = vec![format!("{name}: {outcome} in {time}{more}: {}", one_line(&cause.message))];
        lines.extend(failure::cause(cause, console_log.as_deref(), styles));
        lines
    }

    fn directory(&self, scenario: &ScenarioId) -> Option<&Utf8Path> {
        self.record.scenario(scenario)?.directory.as_deref()
    }

    /// The lines for an event that the record contains already.
    fn lines_of(&self, kind: &EventKind) -> Vec<String> {
        match kind {
            EventKind::RunStarted { .. } => self.start_lines(),
            EventKind::ScenarioSkipped { scenario, reason } => {
                let name = paint(scenario, self.options.styles.name);
                let skipped = paint("skipped", self.options.styles.outcome(Outcome::Skipped));
                vec![String::new(), format!("{name}: {skipped}: {}", one_line(reason))]
            }
            EventKind::ScenarioStarted { scenario, summary, attempt, steps, .. } => {
                self.heading(scenario, summary, *attempt, *steps)
            }
            EventKind::Overdue { scenario, what, expected_ms, limit_ms } => {
                let left = duration(limit_ms.saturating_sub(*expected_ms));
                let text = format!("    waiting for {}, fails in {left}", one_line(what));
                vec![self.line("SLOW", Outcome::Flaky, scenario, &text, *expected_ms)]
            }
            EventKind::AttemptFinished { scenario, outcome, cause, duration_ms, .. } => {
                let record = self.record.scenario(scenario);
                let end = |record| {
                    let more = ", trying again on a new machine";
                    self.end(record, *outcome, cause.as_ref(), *duration_ms, more)
                };
                record.map(end).unwrap_or_default()
            }
            EventKind::MachineKept { scenario, name, ssh, .. } => {
                let scenario = paint(scenario, self.options.styles.name);
                vec![format!("{scenario}: machine left running as `{name}`: {ssh}")]
            }
            EventKind::MachineReady { scenario, machine, state, duration_ms, start, .. } => {
                let start =
                    start.as_ref().map(|started| format!(", {}", started.description())).unwrap_or_default();
                let guest = machine.as_ref().map_or("the guest".to_owned(), |name| format!("`{name}`"));
                let text = format!("    {guest} is ready{start}, systemd reports `{}`", one_line(state));
                vec![self.line("ready", Outcome::Passed, scenario, &text, *duration_ms)]
            }
            EventKind::StepFinished { scenario, .. } => {
                let step = self.record.scenario(scenario).and_then(|record| record.steps.last());
                step.map(|step| self.step(scenario, step)).unwrap_or_default()
            }
            EventKind::ScenarioFinished { scenario, .. } => {
                self.record.scenario(scenario).map(|record| self.end_of_scenario(record)).unwrap_or_default()
            }
            EventKind::Waiting { .. } | EventKind::RunFinished { .. } => Vec::new(),
        }
    }
}

impl Report for Terminal {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.tick(event.time_us)?;
        self.record.take(event);
        match &event.kind {
            EventKind::Waiting { scenario, what } => self.progress.start_wait(scenario, what, event.time_us),
            EventKind::MachineReady { scenario, .. }
            | EventKind::StepFinished { scenario, .. }
            | EventKind::AttemptFinished { scenario, .. }
            | EventKind::ScenarioFinished { scenario, .. } => self.progress.end_wait(scenario),
            _ => {}
        }
        let lines = self.lines_of(&event.kind);
        self.print(&lines)
    }

    fn tick(&mut self, now_us: u64) -> Result<(), ReportError> {
        let names = self.name_width();
        let lines: Vec<String> = self
            .progress
            .due(now_us)
            .into_iter()
            .map(|(scenario, what, waited_ms)| {
                let name = if names == 0 { String::new() } else { format!("{scenario:<names$}  ") };
                format!("  {:LABEL$}{name}    waiting for {what}, {} so far", "...", duration(waited_ms))
            })
            .collect();
        self.print(&lines)
    }

    fn other_failed(&mut self, error: &ReportError) {
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        self.report_errors.push(format!("{}{hint}", on_one_line(error)));
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        let TerminalOptions { styles, reports, .. } = &self.options;
        let lines = summary::lines(&self.record, reports, &self.report_errors, styles);
        self.print(&lines)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use loadgauge_host::FileError;

    use super::*;
    use crate::report::log_stream::tests::commands_somebody;
    use crate::report::testing;

    /// A stream whose bytes can be read back.
    #[derive(Clone, Default)]
    struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

    impl Write for SharedBuffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(events: &[Event], styles: Styles, report_error: Option<&ReportError>) -> String {
        let buffer = SharedBuffer::default();
        let options = TerminalOptions {
            styles,
            interactive: false,
            width: 100,
            reports: vec!["runs/1/events.jsonl".into(), "runs/1/junit.xml".into()],
        };
        let mut terminal = Terminal::new(Box::new(buffer.clone()), options);
        for event in events {
            terminal.event(event).expect("written");
        }
        if let Some(error) = report_error {
            terminal.other_failed(error);
        }
        terminal.finish().expect("written");
        let bytes = buffer.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn one_machine_at_a_time() {
        insta::assert_snapshot!(shown(&testing::complete_run(), Styles::plain(), None));
    }

    #[test]
    fn two_machines_at_a_time() {
        insta::assert_snapshot!(shown(&testing::flaky_run(), Styles::plain(), None));
    }

    #[test]
    fn no_text_of_a_guest_commands_a_runner() {
        let hostile = "oops\n   ::stop-commands::x9\n##[add-mask]failed\n";
        let buffer = SharedBuffer::default();
        let options =
            TerminalOptions { styles: Styles::plain(), interactive: false, width: 100, reports: Vec::new() };
        let stream = LogStream::read_by_a_runner(buffer.clone());
        let mut terminal = Terminal::new(Box::new(stream), options);
        for event in testing::with_prefix(&testing::complete_run(), hostile) {
            terminal.event(&event).expect("written");
        }
        terminal.finish().expect("written");
        let text = String::from_utf8(buffer.0.lock().expect("not poisoned").clone()).expect("UTF-8");
        let found: Vec<&str> = text.lines().filter(|line| commands_somebody(line)).collect();
        assert_eq!(found, [""; 0]);
        assert!(text.contains(":\\:stop-commands::x9") && text.contains("#\\#[add-mask]"), "{text}");
    }

    #[test]
    fn colours_add_no_text() {
        let events = testing::complete_run();
        let colored = shown(&events, Styles::colored(), None);
        assert!(colored.contains("\u{1b}["));
        let plain = anstream::adapter::strip_str(&colored).to_string();
        assert_eq!(plain, shown(&events, Styles::plain(), None));
    }

    #[test]
    fn a_run_with_an_unwritten_report_is_broken() {
        let source = io::Error::from(io::ErrorKind::StorageFull);
        let error = FileError::at("write", "runs/1/junit.xml")(source).into();
        let text = shown(&testing::flaky_run(), Styles::plain(), Some(&error));
        assert!(text.contains("BROKEN    cannot write `runs/1/junit.xml`: no storage space"), "{text}");
        assert!(text.ends_with("verdict: broken\n"), "{text}");
    }

    #[test]
    fn a_run_without_its_last_event_is_broken() {
        let events = testing::complete_run();
        let text = shown(&events[..5], Styles::plain(), None);
        assert!(text.ends_with("verdict: broken\n"), "{text}");
    }
}
