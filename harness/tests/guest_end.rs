// SPDX-License-Identifier: Apache-2.0
//! What is left of a run that is broken off: nothing.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod guest_run;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use guest_run::{GuestRun, Started, processes_with};
use loadgauge::report::json_lines;
use loadgauge::runner::EventKind;

/// One at a time: they compare what is on the host before and after.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a machine could leave on the host.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    mounts: String,
    listening: BTreeSet<String>,
    runtime: BTreeSet<String>,
}

fn traces() -> Traces {
    let names = fs::read_dir(std::env::temp_dir()).expect("the directory for temporary files");
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let sockets = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    // Local address and state are the second and the fourth field; 0A is listening (proc_net_tcp.txt).
    let listening = sockets.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(3) == Some(&"0A")).then(|| fields[1].to_owned())
    });
    Traces {
        mounts: fs::read_to_string("/proc/self/mountinfo").expect("the mounts"),
        listening: listening.collect(),
        runtime: names.filter(|name| name.starts_with("loadgauge-")).collect(),
    }
}

/// Starts a run and waits until its guest's init speaks.
fn booting() -> Started {
    let run = GuestRun::of(&["panic.toml"]).with(&["--start", "cold"]).start();
    run.wait_for("panic/console.log", "Reached target", Duration::from_mins(3));
    assert!(!run.processes().is_empty(), "a QEMU works on this run");
    run
}

fn signal(run: &Started, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &run.child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Waits until everything is as it was before.
fn assert_nothing_left(run: &Started, before: &Traces) {
    let since = Instant::now();
    loop {
        let (processes, now) = (processes_with(run.path.as_str()), traces());
        if processes.is_empty() && now == *before {
            return;
        }
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "left are processes {processes:?} and {now:?}, where before there was {before:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn after_sigkill_no_process_port_mount_or_file_is_left() {
    let _alone = alone();
    let before = traces();
    let mut run = booting();
    assert_ne!(traces().listening, before.listening, "the machine's port is open");
    signal(&run, "KILL");
    run.child.wait().expect("it is dead");
    assert_nothing_left(&run, &before);
}

#[test]
fn an_interrupted_run_ends_in_order_and_leaves_its_reports() {
    for name in ["INT", "TERM"] {
        let _alone = alone();
        let before = traces();
        let mut run = booting();
        signal(&run, name);
        let status = run.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(130), "after SIG{name}");
        assert_nothing_left(&run, &before);
        let events = json_lines::read(&run.path.join("events.jsonl")).expect("the events");
        let last = events.last().map(|event| event.kind.clone());
        assert!(matches!(last, Some(EventKind::RunFinished { interrupted: true, .. })), "{last:?}");
        assert!(run.path.join("junit.xml").is_file(), "the reports are written");
    }
}
