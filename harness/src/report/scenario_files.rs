// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, fs};

use super::record::{RunRecord, ScenarioRecord};
use super::text::{duration, slug};
use super::{Report, ReportError};
use crate::check::Finding;
use crate::runner::{Event, EventKind};

/// The path of the file with the commands of a step and their output, in the directory of the scenario.
pub(super) fn commands_file(step: usize, summary: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("commands/{step:03}-{}.txt", slug(summary)))
}

/// The files in the directory of each scenario: `commands/NNN-SLUG.txt` with the commands of a step and
/// their whole output, and `result.json` with the [`ScenarioRecord`].
#[derive(Debug, Default)]
pub(super) struct ScenarioFiles {
    record: RunRecord,
}

impl ScenarioFiles {
    /// A report without events.
    pub(super) fn new() -> Self {
        Self::default()
    }
}

impl Report for ScenarioFiles {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.record.take(event);
        match &event.kind {
            EventKind::StepFinished { scenario, step, summary, finding: Some(finding), .. }
                if !finding.commands.is_empty() =>
            {
                let directory = self.record.scenario(scenario).and_then(|record| record.directory.as_ref());
                directory.map_or(Ok(()), |directory| write_commands(directory, *step, summary, finding))
            }
            EventKind::AttemptFinished { scenario, .. } | EventKind::ScenarioFinished { scenario, .. } => {
                self.record.scenario(scenario).map_or(Ok(()), write_result)
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        Ok(())
    }
}

fn write_commands(
    directory: &Utf8Path,
    step: usize,
    summary: &str,
    finding: &Finding,
) -> Result<(), ReportError> {
    let mut text = String::new();
    for command in &finding.commands {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "$ {}", command.command);
        let _ = writeln!(text, "# {}, {}", command.exit, duration(command.duration_ms));
        let streams = match &command.whole {
            Some(whole) => [String::from_utf8_lossy(&whole.stdout), String::from_utf8_lossy(&whole.stderr)],
            None => [Cow::from(&command.stdout), Cow::from(&command.stderr)],
        };
        for (name, output) in ["stdout", "stderr"].into_iter().zip(streams) {
            if !output.is_empty() {
                let newline = if output.ends_with('\n') { "" } else { "\n" };
                let _ = write!(text, "--- {name} ---\n{output}{newline}");
            }
        }
        if command.is_cut {
            text.push_str("--- the command printed more, which was not read ---\n");
        }
        text.push('\n');
    }
    Ok(write(&directory.join(commands_file(step, summary)), text.as_bytes())?)
}

fn write_result(record: &ScenarioRecord) -> Result<(), ReportError> {
    let Some(directory) = &record.directory else { return Ok(()) };
    let path = directory.join("result.json");
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    Ok(write(&path, &text)?)
}

fn write(path: &Utf8Path, bytes: &[u8]) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Transcript;
    use crate::report::testing;

    #[test]
    fn the_commands_and_the_result_of_a_scenario_are_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
        let mut report = ScenarioFiles::new();
        for mut event in testing::complete_run() {
            if let EventKind::ScenarioStarted { directory, scenario, .. } = &mut event.kind {
                *directory = root.join(scenario.to_string());
            }
            report.event(&event).expect("written");
        }
        let commands = root.join("hello").join(commands_file(2, "program prints its own line"));
        let text = fs::read_to_string(commands).expect("the commands");
        assert!(text.starts_with("$ hello-world\n# status 1, 0.2s\n--- stdout ---\nhelo\n"), "{text}");
        let result = fs::read(root.join("hello/result.json")).expect("the result");
        let result: serde_json::Value = serde_json::from_slice(&result).expect("JSON");
        assert_eq!(result["outcome"], "failed");
        assert_eq!(result["steps"][1]["finding"]["commands"][0]["stdout"], "helo\n");
    }

    #[test]
    fn the_whole_of_a_long_output_is_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
        let whole: String = (1..=20_000).fold(String::new(), |text, number| format!("{text}{number}\n"));
        let mut finding = testing::failed_finding();
        let output = crate::guest::Output {
            exit: crate::guest::Exit::Status(0),
            stdout: whole.clone().into_bytes(),
            stderr: Vec::new(),
            duration: std::time::Duration::ZERO,
        };
        let command = crate::guest::Command::new("seq 1 20000");
        finding.commands = vec![Transcript::of(&command, &Ok(output), std::time::Duration::ZERO)];
        write_commands(root, 1, "x", &finding).expect("written");
        let text = fs::read_to_string(root.join(commands_file(1, "x"))).expect("read");
        assert_eq!(text.split_once("--- stdout ---\n").expect("an output").1, format!("{whole}\n"));
        finding.commands[0].is_cut = true;
        write_commands(root, 1, "x", &finding).expect("written");
        let text = fs::read_to_string(root.join(commands_file(1, "x"))).expect("read");
        assert!(text.ends_with("20000\n--- the command printed more, which was not read ---\n\n"));
    }

    #[test]
    fn the_error_names_a_read_only_directory() {
        let finding = testing::failed_finding();
        let error = write_commands("/proc/nowhere".into(), 1, "x", &finding).expect_err("not writable");
        assert!(error.to_string().contains("/proc/nowhere/commands"), "{error}");
    }
}
