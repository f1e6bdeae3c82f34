// SPDX-License-Identifier: Apache-2.0
//! Runs of the real binary whose machines end at once, as their QEMU does: what is scheduled, tried
//! again and reported. No guest is booted.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use assert_cmd::Command;
use camino::Utf8PathBuf;
use loadgauge::check::Outcome;
use loadgauge::report::json_lines;
use loadgauge::runner::EventKind;

#[path = "../../images/tests/disk/mod.rs"]
mod disk;

/// A user whose QEMU does the timed micro-boot, and ends at once when it is given a guest's config.
struct User {
    _directory: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl User {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        let user = Self { _directory: directory, root };
        user.write_qemu();
        disk::make(&user.root.join("disk.img"), "4593.2.5");
        for name in ["a", "b", "c"] {
            let text = "summary = \"a machine that does not start\"\n[[step]]\nrun = \"true\"\n";
            fs::write(user.root.join(format!("{name}.toml")), text).expect("written");
        }
        user
    }

    fn write_qemu(&self) {
        let bin = self.root.join("bin");
        fs::create_dir(&bin).expect("made");
        let real = which::which("qemu-system-x86_64").expect("QEMU is installed where tests run");
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *opt/org.flatcar-linux/config*) echo no luck >&2; exit 1 ;; esac\n\
             exec {} \"$@\"\n",
            real.display()
        );
        let path = bin.join("qemu-system-x86_64");
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.root.join("bin")));
        command.env("LOADGAUGE_CACHE", self.root.join("cache")).current_dir(&self.root);
        command.args(["run", "--accel", "tcg", "--output", "run", "--image"]).arg(self.root.join("disk.img"));
        let output = command.args(arguments).output().expect("it runs");
        let events = json_lines::read(&self.root.join("run/events.jsonl"));
        let events = events.unwrap_or_else(|error| panic!("{error}: {}", words(&output)));
        Ran { events: events.into_iter().map(|event| event.kind).collect(), output }
    }
}

struct Ran {
    output: Output,
    events: Vec<EventKind>,
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Ran {
    fn started(&self) -> Vec<String> {
        let started = self.events.iter().filter_map(|event| match event {
            EventKind::ScenarioStarted { scenario, .. } => Some(scenario.to_string()),
            _ => None,
        });
        started.collect()
    }
}

#[test]
fn what_breaks_is_tried_again_and_its_evidence_is_kept() {
    let user = User::new();
    let ran = user.run(&["--retries", "2", "./a.toml"]);
    assert_eq!(ran.output.status.code(), Some(70), "{}", words(&ran.output));
    assert_eq!(ran.started(), ["a", "a", "a"]);
    let attempts = ran
        .events
        .iter()
        .filter(|event| matches!(event, EventKind::AttemptFinished { outcome: Outcome::Broken, .. }));
    assert_eq!(attempts.count(), 2);
    for attempt in 1..=3 {
        let log = user.root.join(format!("run/a/attempt-{attempt}/qemu.log"));
        assert_eq!(fs::read_to_string(log).expect("QEMU's own words"), "no luck\n");
    }
    assert!(words(&ran.output).contains("trying again on a new machine"), "{}", words(&ran.output));
}

#[test]
fn repetitions_have_names_and_directories_of_their_own() {
    let user = User::new();
    let ran = user.run(&["--repeat", "2", "--jobs", "1", "./a.toml", "./b.toml"]);
    assert_eq!(ran.started(), ["a@1", "a@2", "b@1", "b@2"]);
    assert!(user.root.join("run/b@2/result.json").is_file());
}

#[test]
fn a_seed_orders_them_always_in_the_same_way_and_is_told() {
    let user = User::new();
    let files = ["./a.toml", "./b.toml", "./c.toml"];
    let ran = |seed: &str| user.run(&[&["--jobs", "1", "--seed", seed], &files[..]].concat());
    let one = ran("1");
    assert!(words(&one.output).contains("shuffled with --seed 1"), "{}", words(&one.output));
    assert_eq!(one.started(), ran("1").started());
    let others: Vec<Ran> = (2..6).map(|seed| ran(&seed.to_string())).collect();
    assert!(others.iter().any(|other| other.started() != one.started()));
}

#[test]
fn what_is_no_number_of_times_is_a_mistake_in_usage() {
    for arguments in [["--repeat", "0"], ["--jobs", "0"], ["--seed", "often"], ["--flaky", "maybe"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
        command.arg("run").args(arguments).assert().code(2);
    }
}

#[test]
fn a_run_that_may_keep_machines_has_the_status_and_the_words_of_the_run() {
    let user = User::new();
    let ran = user.run(&["--keep", "on-failure", "./a.toml"]);
    assert_eq!(ran.output.status.code(), Some(70), "{}", words(&ran.output));
    assert!(words(&ran.output).ends_with("verdict: broken\n"), "{}", words(&ran.output));
    let missing = Command::new(env!("CARGO_BIN_EXE_loadgauge"))
        .env("LOADGAUGE_CACHE", user.root.join("cache"))
        .args(["run", "--keep", "always", "./absent.toml"])
        .output()
        .expect("it runs");
    assert_eq!(missing.status.code(), Some(2), "{}", words(&missing));
}

#[test]
fn what_is_not_kept_cannot_be_stopped() {
    let user = User::new();
    let stop = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgauge"));
        command.env("LOADGAUGE_CACHE", user.root.join("cache")).arg("stop").args(arguments);
        command.output().expect("it runs")
    };
    let output = stop(&["hello"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        words(&output),
        "error: no running machine has the name `hello`\nhint: none is running; `loadgauge run --keep \
         on-failure` leaves machines of failed scenarios running\n"
    );
    assert_eq!(stop(&["--list"]).status.code(), Some(0));
    assert_eq!(stop(&[]).status.code(), Some(2));
}
