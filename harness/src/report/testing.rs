// SPDX-License-Identifier: Apache-2.0
//! Events for the tests of reports.
use crate::check::{Finding, Outcome, Transcript};
use crate::machine::{Acceleration, Accelerator, Fault, Start, StartReport};
use crate::runner::{Cause, Counts, Event, EventKind, FORMAT, FlakyPolicy, RunHeader};
use serde_json::Value;

/// Events at intervals of half a second, from the first of November 2026.
fn timed(kinds: Vec<EventKind>) -> Vec<Event> {
    let start = 1_793_491_200_000_000;
    let step = 500_000;
    (0u64..).zip(kinds).map(|(index, kind)| Event { time_us: start + index * step, kind }).collect()
}

fn run_started(jobs: usize, scenarios: &[&str]) -> EventKind {
    EventKind::RunStarted {
        format: FORMAT,
        header: RunHeader {
            version: "0.1.0".to_owned(),
            directory: "runs/1".into(),
            image: "/cache/image/disk.qcow2".into(),
            image_digest: "ab".repeat(32),
            image_name: "Flatcar Container Linux (stand-in) 4593.2.0".to_owned(),
            acceleration: Acceleration {
                accelerator: Accelerator::Tcg,
                factor: 6.5,
                reason: "KVM is available, but a micro-boot did not end within 5 s".to_owned(),
            },
        },
        scenarios: scenarios.iter().map(|&name| name.into()).collect(),
        jobs,
        seed: None,
        flaky: FlakyPolicy::Pass,
    }
}

fn started(scenario: &str, summary: &str, steps: usize) -> EventKind {
    EventKind::ScenarioStarted {
        machines: vec![],
        scenario: scenario.into(),
        summary: summary.to_owned(),
        directory: format!("runs/1/{scenario}").into(),
        attempt: 1,
        steps,
    }
}

/// The second attempt.
fn started_again(scenario: &str, summary: &str, steps: usize) -> EventKind {
    EventKind::ScenarioStarted {
        machines: vec![],
        scenario: scenario.into(),
        summary: summary.to_owned(),
        directory: format!("runs/1/{scenario}/attempt-2").into(),
        attempt: 2,
        steps,
    }
}

fn waiting(scenario: &str) -> EventKind {
    EventKind::Waiting { scenario: scenario.into(), what: "the guest to be ready".to_owned() }
}

fn ready(scenario: &str) -> EventKind {
    EventKind::MachineReady {
        scenario: scenario.into(),
        machine: None,
        boot_id: "7f1a0c9e-5a57-4a4e-9f83-3f4f1f3f0001".to_owned(),
        state: "running".to_owned(),
        duration_ms: 28_140,
        start: Some(StartReport {
            start: Start::Cold,
            reason: "no other scenario has its machine".to_owned(),
            snapshot_ms: None,
        }),
    }
}

fn step(scenario: &str, step: usize, summary: &str, finding: Finding) -> EventKind {
    EventKind::StepFinished {
        machine: None,
        scenario: scenario.into(),
        step,
        summary: summary.to_owned(),
        outcome: finding.outcome,
        finding: Some(finding),
        attempts: if step == 2 { 12 } else { 1 },
        duration_ms: 412,
    }
}

fn finished(scenario: &str, outcome: Outcome, cause: Option<Cause>) -> EventKind {
    EventKind::ScenarioFinished { scenario: scenario.into(), outcome, cause, duration_ms: 31_250 }
}

fn run_finished(counts: Counts) -> EventKind {
    EventKind::RunFinished { counts, interrupted: false, duration_ms: 125_000 }
}

pub(super) fn passed_finding() -> Finding {
    Finding {
        outcome: Outcome::Passed,
        expected: "`hello` is merged".to_owned(),
        found: String::new(),
        hint: None,
        commands: vec![transcript("systemd-sysext status --json=short", "status 0", "[]\n", "")],
    }
}

pub(super) fn failed_finding() -> Finding {
    Finding {
        outcome: Outcome::Failed,
        expected: "status 0\nstdout equals \"hello\\n\"".to_owned(),
        found: "status 1\nstdout is \"helo\\n\"".to_owned(),
        hint: Some("compare the program with its source".to_owned()),
        commands: vec![transcript("hello-world", "status 1", "helo\n", "spelling: 1 mistake\u{1b}[31m\n")],
    }
}

fn skipped_finding() -> Finding {
    let found = "not reached: the machine died".to_owned();
    Finding { outcome: Outcome::Skipped, expected: String::new(), found, hint: None, commands: Vec::new() }
}

fn transcript(command: &str, exit: &str, stdout: &str, stderr: &str) -> Transcript {
    Transcript {
        command: command.to_owned(),
        exit: exit.to_owned(),
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
        duration_ms: 160,
        ..Transcript::default()
    }
}

fn long_finding() -> Finding {
    let mut finding = failed_finding();
    let long: Vec<String> = (1..=100).map(|line| format!("line {line} of the journal")).collect();
    finding.expected = "no line at error level".to_owned();
    finding.found = "100 lines".to_owned();
    finding.commands = vec![
        transcript("systemctl is-system-running", "status 0", "running\n", ""),
        transcript("journalctl --boot --priority=err", "status 0", &long.join("\n"), ""),
    ];
    finding
}

fn panic_cause() -> Cause {
    let line = "Kernel panic - not syncing: sysrq triggered crash".to_owned();
    let console = vec!["[   12.3] sysrq: Trigger a crash".to_owned(), format!("[   12.3] {line}")];
    Cause {
        machine: None,
        message: format!("the guest's kernel panicked: {line}"),
        hint: Some("read the call trace in the console log".to_owned()),
        fault: Some(Fault::Panic { line, console }),
    }
}

/// A run, one machine at a time, with every outcome except flaky.
pub(super) fn complete_run() -> Vec<Event> {
    let broken = Cause {
        machine: None,
        message: "cannot start `qemu-system-x86_64`: permission denied".to_owned(),
        hint: Some("check the permissions of /usr/bin/qemu-system-x86_64".to_owned()),
        fault: None,
    };
    timed(vec![
        run_started(1, &["hello", "panic", "nothing"]),
        started("hello", "a hello sysext as squashfs is merged", 3),
        waiting("hello"),
        ready("hello"),
        step("hello", 1, "`hello` is merged", passed_finding()),
        step("hello", 2, "program prints its own line", failed_finding()),
        step("hello", 3, "the journal has no error", long_finding()),
        finished("hello", Outcome::Failed, None),
        EventKind::ScenarioSkipped {
            scenario: "torcx".into(),
            reason: "requires era torcx, but the image has era sysext".to_owned(),
        },
        started("panic", "a guest that panics is noticed at once", 3),
        ready("panic"),
        step("panic", 1, "`hello` is merged", passed_finding()),
        step("panic", 2, "sweep: no failed unit", skipped_finding()),
        step("panic", 3, "sweep: no coredump", skipped_finding()),
        finished("panic", Outcome::Failed, Some(panic_cause())),
        started("nothing", "a machine that does not start", 1),
        finished("nothing", Outcome::Broken, Some(broken)),
        run_finished(Counts { failed: 2, skipped: 1, broken: 1, ..Counts::default() }),
    ])
}

/// A run, two machines at a time, with a scenario that passes at the second attempt after a slow boot.
pub(super) fn flaky_run() -> Vec<Event> {
    let mut events = timed(vec![
        run_started(2, &["docker.vendor", "hello"]),
        started("docker.vendor", "the vendor's Docker runs a container", 2),
        waiting("docker.vendor"),
        started("hello", "a hello sysext as squashfs is merged", 1),
        waiting("hello"),
        ready("hello"),
        step("hello", 1, "`hello` is merged", passed_finding()),
        finished("hello", Outcome::Passed, None),
        ready("docker.vendor"),
        step("docker.vendor", 1, "a container runs", failed_finding()),
        EventKind::MachineKept {
            scenario: "docker.vendor".into(),
            machine: None,
            name: "docker.vendor".to_owned(),
            ssh: "ssh -i runs/1/docker.vendor/attempt-1/ssh-key -p 40022 core@127.0.0.1".to_owned(),
        },
        EventKind::AttemptFinished {
            scenario: "docker.vendor".into(),
            attempt: 1,
            outcome: Outcome::Failed,
            cause: None,
            duration_ms: 30_100,
        },
        started_again("docker.vendor", "the vendor's Docker runs a container", 2),
        EventKind::Overdue {
            scenario: "docker.vendor".into(),
            what: "the guest to be ready".to_owned(),
            expected_ms: 30_000,
            limit_ms: 60_000,
        },
        ready("docker.vendor"),
        step("docker.vendor", 1, "a container runs", passed_finding()),
        step(
            "docker.vendor",
            2,
            "the container printed its line, and the summary of this step is too long for one line of a report",
            passed_finding(),
        ),
        finished("docker.vendor", Outcome::Flaky, None),
        run_finished(Counts { passed: 1, flaky: 1, ..Counts::default() }),
    ]);
    for event in &mut events[5..] {
        event.time_us += 11_000_000;
    }
    events
}

/// The events with a text before every string that is not a keyword of their format.
pub(super) fn with_prefix(events: &[Event], prefix: &str) -> Vec<Event> {
    let prefixed = |event: &Event| {
        let mut value = serde_json::to_value(event).expect("JSON");
        for pointer in strings(&value, "") {
            let Some(Value::String(text)) = value.pointer(&pointer) else { unreachable!("{pointer}") };
            let (original, replacement) = (text.clone(), format!("{prefix}{text}"));
            *value.pointer_mut(&pointer).expect("a string") = Value::String(replacement);
            if serde_json::from_value::<Event>(value.clone()).is_err() {
                *value.pointer_mut(&pointer).expect("a string") = Value::String(original);
            }
        }
        serde_json::from_value(value).expect("an event")
    };
    events.iter().map(prefixed).collect()
}

/// The JSON pointers of all strings that are not empty.
fn strings(value: &Value, pointer: &str) -> Vec<String> {
    match value {
        Value::String(text) if !text.is_empty() => vec![pointer.to_owned()],
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(index, item)| strings(item, &format!("{pointer}/{index}")))
            .collect(),
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, field)| strings(field, &format!("{pointer}/{name}"))).collect()
        }
        _ => Vec::new(),
    }
}
