// SPDX-License-Identifier: Apache-2.0
//! A run that is ended in any of its phases leaves nothing: no process, port, mount or temporary file.
//!
//! Only what belongs to the run is looked at, because other runs may use the same host: its processes are those
//! that have its directory for temporary files in their environment, its ports are those of these processes.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod guest_run;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use guest_run::{GuestRun, Started};
use loadgauge::report::json_lines;
use loadgauge::runner::EventKind;

/// The limit for a phase to be reached, on a busy host without KVM.
const REACHED: Duration = Duration::from_mins(8);
/// The limit for the end of everything after the end of the run.
const GONE: Duration = Duration::from_secs(10);
/// What the guest prints on its console during the step.
const UNDER_WAY: &str = "a step is under way";

/// A phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// its first event is written; the machine is about to start
    Beginning,
    /// QEMU runs
    Qemu,
    /// the guest boots
    Boot,
    /// a step is executed
    Step,
}

/// The phases in which a run is interrupted. The end of a step takes a whole boot.
const PHASES: &[Phase] = if cfg!(feature = "all-guest-tests") {
    &[Phase::Beginning, Phase::Qemu, Phase::Boot, Phase::Step]
} else {
    &[Phase::Beginning, Phase::Qemu, Phase::Boot]
};

/// A run whose traces can be told from those of others.
struct Run {
    started: Started,
    scratch: tempfile::TempDir,
}

/// What belongs to a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Traces {
    processes: BTreeSet<u32>,
    /// in the notation of /proc/net/tcp
    ports: BTreeSet<String>,
    mounts: Vec<String>,
    files: Vec<String>,
}

impl Run {
    /// Starts a run and waits until it has reached a phase.
    fn at(phase: Phase) -> Self {
        let scratch = tempfile::tempdir().expect("a directory");
        let temporary = scratch.path().join("t");
        fs::create_dir(&temporary).expect("made");
        let scenario = scratch.path().join("end.toml");
        let text = format!(
            "summary = \"It is ended\"\n[[step]]\nsummary = \"the guest is busy\"\nuser = \"root\"\n\
             run = \"echo {UNDER_WAY} >/dev/ttyS0; sleep 600\"\ntimeout = \"20min\"\n"
        );
        fs::write(&scenario, text).expect("written");
        let scenario = scenario.to_str().expect("UTF-8");
        let run = GuestRun::of(&[scenario]).with(&["--start", "cold"]).with_temporary_files_in(&temporary);
        let run = Self { started: run.start(), scratch };
        let (file, text) = match phase {
            Phase::Beginning => ("events.jsonl", "run-started"),
            Phase::Qemu => ("end/qemu.txt", "qemu"),
            Phase::Boot => ("end/console.log", "Reached target"),
            Phase::Step => ("end/console.log", UNDER_WAY),
        };
        run.started.wait_for(file, text, REACHED);
        if matches!(phase, Phase::Boot | Phase::Step) {
            let traces = run.traces();
            assert!(traces.processes.len() >= 2, "the harness and QEMU run: {traces:?}");
            assert!(!traces.ports.is_empty(), "the port of the guest's SSH is open: {traces:?}");
            assert!(!traces.files.is_empty(), "it has sockets and disks: {traces:?}");
        }
        run
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.started.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    fn temporary(&self) -> PathBuf {
        self.scratch.path().join("t")
    }

    fn traces(&self) -> Traces {
        let temporary = self.temporary();
        let mark = format!("TMPDIR={}", temporary.display());
        let numbers = fs::read_dir("/proc").expect("/proc").flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let processes: BTreeSet<u32> = numbers.filter(|pid| has_environment(*pid, &mark)).collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let scratch = self.scratch.path().to_str().expect("UTF-8").to_owned();
        let files = fs::read_dir(&temporary).expect("its temporary files").flatten();
        Traces {
            ports: processes.iter().flat_map(|pid| ports(*pid)).collect(),
            processes,
            mounts: mounts.lines().filter(|line| line.contains(&scratch)).map(str::to_owned).collect(),
            files: files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
        }
    }

    /// Waits for the end of the run.
    fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.started.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "the run does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until nothing of the run is left.
    fn assert_nothing_left(&self, what: &str) {
        let begun = Instant::now();
        loop {
            let traces = self.traces();
            if traces == Traces::default() {
                return;
            }
            assert!(begun.elapsed() < GONE, "{what}: left is {traces:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Whether a process that is not a zombie has a variable in its environment.
fn has_environment(pid: u32, variable: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}

/// The addresses on which a process listens. Local address, state and inode are fields of /proc/net/tcp, where 0A
/// is the state of sockets that listen (proc_net_tcp.txt).
fn ports(pid: u32) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let sockets: BTreeSet<String> = descriptors
        .filter_map(|entry| fs::read_link(entry.path()).ok()?.to_str().map(str::to_owned))
        .collect();
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let listening = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let socket = format!("socket:[{}]", fields.get(9)?);
        (fields.get(3) == Some(&"0A") && sockets.contains(&socket)).then(|| fields[1].to_owned())
    });
    listening.collect()
}

#[test]
fn a_killed_run_leaves_nothing_in_any_phase() {
    for phase in [Phase::Beginning, Phase::Qemu, Phase::Boot, Phase::Step] {
        let mut run = Run::at(phase);
        run.signal("KILL");
        assert_eq!(run.end().signal(), Some(9), "{phase:?}");
        run.assert_nothing_left(&format!("after SIGKILL in {phase:?}"));
    }
}

#[test]
fn an_interrupted_run_ends_in_order_in_any_phase_and_leaves_its_reports() {
    for &phase in PHASES {
        // The second signal is handled alike, so that one phase is enough for it.
        for name in if phase == Phase::Boot { &["INT", "TERM"][..] } else { &["INT"] } {
            let mut run = Run::at(phase);
            run.signal(name);
            assert_eq!(run.end().code(), Some(130), "after SIG{name} in {phase:?}");
            run.assert_nothing_left(&format!("after SIG{name} in {phase:?}"));
            let events = json_lines::read(&run.started.path.join("events.jsonl")).expect("the events");
            let last = events.last().map(|event| event.kind.clone());
            let interrupted = matches!(last, Some(EventKind::RunFinished { interrupted: true, .. }));
            assert!(interrupted, "after SIG{name} in {phase:?}: {last:?}");
            let report = run.started.path.join("junit.xml");
            assert!(report.is_file(), "after SIG{name} in {phase:?}: the reports are written");
        }
    }
}

#[test]
fn a_second_signal_ends_a_run_at_once_and_it_leaves_nothing() {
    let mut run = Run::at(Phase::Boot);
    run.signal("INT");
    run.signal("INT");
    assert_eq!(run.end().code(), Some(130));
    run.assert_nothing_left("after two signals");
}
