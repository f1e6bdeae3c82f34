// SPDX-License-Identifier: Apache-2.0
//! Guests that fail: each ends within seconds of its cause, and says it.
mod guest_run;

use std::process::Command;
use std::time::{Duration, Instant};

use guest_run::GuestRun;
use loadgauge::check::Outcome;
use loadgauge::machine::Fault;
use loadgauge::runner::EventKind;

/// How long a boot may take on a slow host before a test gives it up.
const BOOT: Duration = Duration::from_mins(8);
/// What "within seconds of its cause" means, on a host that does other things as well.
const SECONDS: Duration = Duration::from_secs(20);

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

#[test]
fn an_image_that_is_not_signed_is_told_where_secure_boot_refuses_it() {
    let run = GuestRun::of(&["secure.toml"]).finish();
    run.assert(1, &["Access Denied", "Secure Boot refuses what the image boots"]);
    let EventKind::ScenarioFinished { cause, duration_ms, .. } = run.end_of("secure") else { unreachable!() };
    let fault = cause.and_then(|cause| cause.fault);
    assert!(matches!(fault, Some(Fault::Boot { .. })), "{fault:?}");
    assert!(duration_ms < 60_000, "it took {duration_ms} ms: it was waited for what never comes");
}

/// Three guests run the same check; one loses its QEMU, one's stops, and to the third nothing happens.
#[test]
fn a_qemu_that_dies_or_stops_under_a_check_is_told_and_takes_no_other_with_it() {
    let mut run = GuestRun::of(&["asleep.toml"]).with(&["--repeat", "3", "--jobs", "3"]).start();
    let (mut told, names) = (Vec::new(), ["asleep@1", "asleep@2", "asleep@3"]);
    for name in names {
        run.wait_for("events.jsonl", &format!("\"scenario\":\"{name}\",\"what\":\"step 1"), BOOT);
    }
    for (name, signal) in [("asleep@1", "KILL"), ("asleep@2", "STOP")] {
        let kept = format!("file={}", run.path.join(name).join("config.ign"));
        let [pid] = guest_run::processes_with(&kept)[..] else { panic!("one QEMU of `{name}`") };
        let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().expect("it runs");
        assert!(sent.success());
        let end = format!("\"event\":\"scenario-finished\",\"scenario\":\"{name}\"");
        let since = Instant::now();
        run.wait_for("events.jsonl", &end, Duration::from_mins(1));
        assert!(since.elapsed() < SECONDS, "`{name}`: it took {:?}", since.elapsed());
    }
    // Nobody's scenario has failed: it is the host that was in the way.
    assert_eq!(run.child.wait().expect("the run ends").code(), Some(70));
    for event in loadgauge::report::json_lines::read(&run.path.join("events.jsonl")).expect("events") {
        if let EventKind::ScenarioFinished { scenario, outcome, cause, .. } = event.kind {
            told.push((scenario, outcome, cause.and_then(|cause| cause.fault)));
        }
    }
    told.sort_by(|left, right| left.0.cmp(&right.0));
    let [(_, Outcome::Broken, killed), (_, Outcome::Broken, stopped), (_, Outcome::Passed, None)] =
        told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert!(matches!(killed, Some(Fault::Exited { .. })), "{killed:?}");
    assert!(matches!(stopped, Some(Fault::Hung { .. })), "{stopped:?}");
}

/// How long it may take from the guest being up, so from the cause or a little before it, until it is
/// told that the guest can no longer be asked: what is slow to answer is looked at after ten seconds.
const SILENCE: Duration = Duration::from_secs(75);
/// Guests that are up and cannot be asked, and a word of why.
const CUT_OFF: [(&str, &str); 3] = [
    ("no-ssh", "the guest says that it is up"),
    ("ssh-dies", "nothing listens on the guest's port 22"),
    ("network-gone", "a command is not answered"),
];

#[test]
fn a_guest_that_can_no_longer_be_asked_is_told_with_its_cause_and_the_others_go_on() {
    let mut scenarios = CUT_OFF.map(|(name, _)| format!("{name}.toml")).to_vec();
    scenarios.push("clock-set.toml".to_owned());
    let run = GuestRun::of(&scenarios.iter().map(String::as_str).collect::<Vec<_>>()).finish();
    run.assert(1, &["verdict: failed"]);
    let events = run.events();
    for (name, word) in CUT_OFF {
        let EventKind::ScenarioFinished { outcome, cause, .. } = run.end_of(name) else { unreachable!() };
        assert_eq!(outcome, Outcome::Failed, "`{name}`; the run said:\n{}", run.words());
        let fault = cause.and_then(|cause| cause.fault);
        let told = match &fault {
            Some(Fault::Ssh { what, .. }) => what,
            other => panic!("`{name}`: {other:?}; the run said:\n{}", run.words()),
        };
        assert!(told.contains(word), "`{name}`: {told}");
        let at = |wanted: fn(&EventKind) -> Option<&str>| {
            let of = |kind: &EventKind| wanted(kind) == Some(name);
            events.iter().filter(|event| of(&event.kind)).map(|event| event.time_us).next_back()
        };
        let up = at(|kind| match kind {
            EventKind::MachineReady { scenario, .. } => Some(scenario),
            _ => None,
        });
        let end = at(|kind| match kind {
            EventKind::ScenarioFinished { scenario, .. } => Some(scenario),
            _ => None,
        });
        let after = Duration::from_micros(end.expect("an end") - up.expect("it was up"));
        assert!(after < SILENCE, "`{name}`: it took {after:?} to tell: {told}");
    }
    clock_is_told(&run);
}

/// Its checks are judged as ever, and the sweep tells that its clock is wrong.
fn clock_is_told(run: &guest_run::Finished) {
    let steps = run.events().into_iter().filter_map(|event| match event.kind {
        EventKind::StepFinished { scenario, summary, outcome, finding, .. } if scenario == "clock-set" => {
            Some((summary, outcome, finding.map(|finding| finding.found).unwrap_or_default()))
        }
        _ => None,
    });
    let (failed, others): (Vec<_>, Vec<_>) =
        steps.partition(|(summary, ..)| summary == "sweep: the clock is right");
    assert!(others.iter().all(|(_, outcome, _)| *outcome == Outcome::Passed), "{others:?}");
    assert!(!others.is_empty(), "the run said:\n{}", run.words());
    let [(_, Outcome::Failed, found)] = failed.as_slice() else { panic!("{failed:?}") };
    let seconds: u64 = found.split(' ').find_map(|word| word.parse().ok()).unwrap_or_default();
    assert!(seconds.abs_diff(86_400) < 120 && found.contains("ahead"), "{found}");
}
