// SPDX-License-Identifier: Apache-2.0
//! Runs of the real binary that boot real guests, for the tests in `guest_*.rs`.
#![expect(dead_code, unreachable_pub, reason = "each test program includes it and uses a part")]
#[cfg(not(feature = "guest-tests"))]
compile_error!("a test that boots guests has `required-features = [\"guest-tests\"]` in Cargo.toml");

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use loadgauge::report::json_lines;
use loadgauge::runner::{Event, EventKind};

/// A run's directory, and what the binary is told to do with it.
pub struct GuestRun {
    directory: tempfile::TempDir,
    command: Command,
}

impl GuestRun {
    /// Of scenarios: patterns, or files in `harness/tests/scenarios`.
    pub fn of(scenarios: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
        command.args(["run", "--output"]).arg(directory.path().join("run"));
        for scenario in scenarios {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(scenario);
            if path.exists() {
                command.arg(path)
            } else {
                command.arg(scenario)
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { directory, command }
    }

    /// With further arguments.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// With a directory of its own for temporary files, which exists already.
    pub fn with_temporary_files_in(mut self, directory: &std::path::Path) -> Self {
        self.command.env("TMPDIR", directory);
        self
    }

    /// With so little room for temporary files, in MiB.
    pub fn with_room(self, mebibytes: u32) -> Self {
        self.within("temporary", &format!("{mebibytes}m"), "export TMPDIR=\"$1\"")
    }

    /// With so little room for its records, in KiB. They are gone when it ends.
    pub fn with_room_for_records(self, kibibytes: u32) -> Self {
        self.within("run", &format!("{kibibytes}k"), ":")
    }

    /// With a small file system of its own at a directory beside its records, which only this run sees.
    fn within(mut self, name: &str, size: &str, then: &str) -> Self {
        let place = self.directory.path().join(name);
        fs::create_dir(&place).expect("a directory");
        let script = format!("mount -t tmpfs -o size={size} tmpfs \"$1\" && {then} && shift && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "--", "sh", "-c", &script, "sh"]).arg(place);
        command.arg(self.command.get_program()).args(self.command.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command = command;
        self
    }

    /// Runs it to its end.
    pub fn finish(mut self) -> Finished {
        let output = self.command.output().expect("the binary runs");
        let path = self.path();
        Finished { _directory: self.directory, path, output }
    }

    /// Starts it.
    pub fn start(mut self) -> Started {
        let child = self.command.spawn().expect("the binary runs");
        let path = self.path();
        Started { _directory: self.directory, path, child }
    }

    fn path(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.directory.path().join("run")).expect("UTF-8")
    }
}

/// A run that has ended, and what it left.
pub struct Finished {
    _directory: tempfile::TempDir,
    pub path: Utf8PathBuf,
    output: Output,
}

impl Finished {
    pub fn status(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// What it said.
    pub fn words(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn events(&self) -> Vec<Event> {
        json_lines::read(&self.path.join("events.jsonl")).expect("the events can be read")
    }

    /// How a scenario ended.
    pub fn end_of(&self, name: &str) -> EventKind {
        let is_end = |kind: &EventKind| matches!(kind, EventKind::ScenarioFinished { scenario, .. } if scenario.to_string() == name);
        let mut ends = self.events().into_iter().map(|event| event.kind).filter(is_end);
        ends.next().unwrap_or_else(|| panic!("`{name}` has no end; the run said:\n{}", self.words()))
    }

    /// Fails, with everything that the run said, unless it ended with this status and said these.
    pub fn assert(&self, status: i32, said: &[&str]) {
        let words = self.words();
        assert_eq!(self.status(), Some(status), "the run said:\n{words}");
        for part in said {
            assert!(words.contains(part), "`{part}` is not in what the run said:\n{words}");
        }
    }
}

/// A run that goes on.
pub struct Started {
    _directory: tempfile::TempDir,
    pub path: Utf8PathBuf,
    pub child: Child,
}

impl Started {
    /// Waits until a file of the run has a text in it.
    pub fn wait_for(&self, file: &str, text: &str, limit: Duration) -> Instant {
        let since = Instant::now();
        let path = self.path.join(file);
        loop {
            let bytes = fs::read(&path).unwrap_or_default();
            if String::from_utf8_lossy(&bytes).contains(text) {
                return Instant::now();
            }
            assert!(since.elapsed() < limit, "`{text}` does not come in `{path}`");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for its end.
    pub fn finish(self) -> Finished {
        let Self { _directory: directory, path, child } = self;
        let output = child.wait_with_output().expect("the run ends");
        Finished { _directory: directory, path, output }
    }

    /// The processes that work on this run, other than the harness itself.
    pub fn processes(&self) -> Vec<u32> {
        processes_with(self.path.as_str()).into_iter().filter(|pid| *pid != self.child.id()).collect()
    }
}

/// The processes with a word in their command line.
pub fn processes_with(word: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(word)
        })
        .collect()
}
