// SPDX-License-Identifier: Apache-2.0
//! Guests that fail: each ends within seconds of its cause, and says it.
mod guest_run;

use std::time::Duration;

use guest_run::GuestRun;
use loadgauge::check::Outcome;
use loadgauge::machine::Fault;
use loadgauge::runner::{Event, EventKind};

/// How long a boot may take on a slow host before a test gives it up.
const BOOT: Duration = Duration::from_mins(8);
/// What "within seconds of its cause" means, on a host that does other things as well.
const SECONDS: Duration = Duration::from_secs(20);

/// Until a silent guest is looked at (10 s), and what its sshd may take to greet under TCG (30 s), on a host
/// that does other things as well.
const SILENCE: Duration = Duration::from_mins(1);

#[test]
fn a_wrong_expectation_is_plain_from_what_is_printed() {
    let run = GuestRun::of(&["wrong.toml"]).finish();
    run.assert(
        1,
        &[
            "extension `absent-extension` is merged into /usr",
            "`absent-extension` was not found",
            "`goodbye\\n`",
            "`hello from hello\\n`",
            "verdict: failed",
        ],
    );
    let third = run.events().into_iter().find_map(|event| match event.kind {
        EventKind::StepFinished { step: 3, outcome, .. } => Some(outcome),
        _ => None,
    });
    assert_eq!(third, Some(Outcome::Passed), "a failed step does not keep the next from being asked");
}

#[test]
fn a_corrupt_extension_is_not_merged_and_the_guest_says_why() {
    let run = GuestRun::of(&["corrupt.toml"]).finish();
    run.assert(1, &["extension `corrupt` is merged into /usr", "systemd-sysext said: "]);
}

/// Runs a scenario whose guest dies, and looks how long after the first word of it the run ends.
fn dies(scenario: &str, first_word: &str, said: &[&str]) -> Fault {
    let name = scenario.trim_end_matches(".toml");
    let mut run = GuestRun::of(&[scenario]).start();
    let since = run.wait_for(&format!("{name}/console.log"), first_word, BOOT);
    run.wait_for("events.jsonl", "\"event\":\"run-finished\"", Duration::from_mins(1));
    let after = since.elapsed();
    let status = run.child.wait().expect("the run ends").code();
    let mut words = String::new();
    let stderr = run.child.stderr.as_mut().expect("piped");
    std::io::Read::read_to_string(stderr, &mut words).expect("UTF-8");
    assert_eq!(status, Some(1), "the run said:\n{words}");
    for part in said {
        assert!(words.contains(part), "`{part}` is not in what the run said:\n{words}");
    }
    assert!(after < SECONDS, "it took {after:?} from the cause to the end");
    let events = loadgauge::report::json_lines::read(&run.path.join("events.jsonl")).expect("events");
    let cause = events.into_iter().find_map(|event| match event.kind {
        EventKind::ScenarioFinished { cause, .. } => cause,
        _ => None,
    });
    cause.and_then(|cause| cause.fault).unwrap_or_else(|| panic!("no fault; the run said:\n{words}"))
}

#[test]
fn a_panic_ends_the_scenario() {
    let fault = dies("panic.toml", "Kernel panic - not syncing", &["sysrq triggered crash", "not reached"]);
    assert!(matches!(&fault, Fault::Panic { line, .. } if line.contains("Kernel panic")), "{fault:?}");
    assert!(fault.console().iter().any(|line| line.contains("Kernel panic")), "{fault:?}");
}

#[test]
fn an_initrd_that_fails_ends_the_scenario() {
    let fault = dies("initrd.toml", "Failed to start ", &["Ignition", "/usr/lib/os-release", "not reached"]);
    assert!(matches!(fault, Fault::Initrd { .. }), "{fault:?}");
}

#[test]
fn a_bad_hash_ends_the_scenario() {
    let fault = dies("bad-hash.toml", "Failed to start ", &["hash verification failed", "not reached"]);
    assert!(matches!(fault, Fault::Initrd { .. }), "{fault:?}");
}

/// How each of several scenarios of one run ends whose guests cannot be asked any more: a part of what
/// their fault says, and the steps until then.
const UNREACHABLE: &[(&str, &str)] = &[
    ("no-ssh", "nothing listens on the guest's port 22"),
    ("ssh-dies", "nothing listens on the guest's port 22"),
    ("network-gone", "nothing answers within"),
];

/// They share a boot, but for the one whose sshd never comes up, and a run: none takes another with it.
#[test]
fn guests_that_cannot_be_reached_end_their_scenarios_alone() {
    let scenarios = ["no-ssh.toml", "ssh-dies.toml", "network-gone.toml", "clock-set.toml"];
    let run = GuestRun::of(&scenarios).finish();
    run.assert(1, &["the guest's SSH failed", "not reached"]);
    for (name, said) in UNREACHABLE {
        let EventKind::ScenarioFinished { outcome, cause, .. } = run.end_of(name) else { unreachable!() };
        assert_eq!(outcome, Outcome::Failed, "{name}: {}", run.words());
        let Some(Fault::Ssh { what, console }) = cause.and_then(|cause| cause.fault) else {
            panic!("{name} has another fault; the run said:\n{}", run.words())
        };
        assert!(what.contains(said), "{name}: {what}");
        assert!(!console.is_empty(), "{name} shows no console");
        let after = after_the_cause(&run.events(), name);
        assert!(after < SILENCE, "{name} took {after:?}: {}", run.words());
    }
    let found = findings(&run.events(), "clock-set", Outcome::Failed);
    assert!(
        found.len() == 1 && found[0].ends_with("ahead of the host's"),
        "a clock that jumped fails its own sweep alone: {found:?}\n{}",
        run.words()
    );
}

/// From when the guest was up, for its first step takes the SSH away, until the end of the scenario.
fn after_the_cause(events: &[Event], name: &str) -> Duration {
    let at = |wanted: &dyn Fn(&EventKind) -> bool| {
        let event = events.iter().find(|event| wanted(&event.kind));
        event.unwrap_or_else(|| panic!("`{name}` was never up or never ended")).time_us
    };
    let up = at(&|kind| matches!(kind, EventKind::MachineReady { scenario, .. } if scenario == name));
    let end = at(&|kind| matches!(kind, EventKind::ScenarioFinished { scenario, .. } if scenario == name));
    Duration::from_micros(end - up)
}

/// What a scenario's steps of an outcome found.
fn findings(events: &[Event], name: &str, wanted: Outcome) -> Vec<String> {
    let found = events.iter().filter_map(|event| match &event.kind {
        EventKind::StepFinished { scenario, outcome, finding, .. }
            if scenario == name && *outcome == wanted =>
        {
            finding.as_ref().map(|finding| finding.found.clone())
        }
        _ => None,
    });
    found.collect()
}
