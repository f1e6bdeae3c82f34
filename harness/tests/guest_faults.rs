// SPDX-License-Identifier: Apache-2.0
//! Guests that fail: each ends within seconds of its cause, and says it.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod guest_run;
#[expect(unreachable_pub, reason = "it is a module of this test program alone")]
mod injection;

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use camino::Utf8PathBuf;
use guest_run::{Finished, GuestRun, processes_with};
use injection::Injection;
use loadgauge::check::Outcome;
use loadgauge::machine::{Fault, ProcessState};
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
    run.assert(1, &["extension `corrupt` is merged into /usr", "journal of systemd-sysext: "]);
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
fn firmware_refuses_what_is_not_signed() {
    let run = GuestRun::of(&["uefi-secure.toml"]).finish();
    run.assert(
        1,
        &[
            "Access Denied",
            "check that the boot loader is signed by a key of this firmware",
            "verdict: failed",
        ],
    );
    let EventKind::ScenarioFinished { outcome, duration_ms, .. } = run.end_of("uefi-secure") else {
        unreachable!()
    };
    let fault = fault_of(&run, "uefi-secure");
    assert!(matches!(&fault, Fault::Boot { line, .. } if line.contains("Access Denied")), "{fault:?}");
    assert_eq!(outcome, Outcome::Failed);
    assert!(Duration::from_millis(duration_ms) < Duration::from_mins(1), "it took {duration_ms} ms to tell");
}

/// Why a scenario ended early.
fn fault_of(run: &Finished, name: &str) -> Fault {
    let EventKind::ScenarioFinished { cause, .. } = run.end_of(name) else { unreachable!() };
    let fault = cause.and_then(|cause| cause.fault);
    fault.unwrap_or_else(|| panic!("`{name}` has no fault; the run said:\n{}", run.words()))
}

/// What happens to a machine whose guest is under way, what that is told as, and within how many seconds
/// it is. All are copies of one boot, side by side.
struct Suffering {
    name: &'static str,
    injection: Injection,
    outcome: Outcome,
    told: fn(&Fault) -> bool,
    within: u64,
}

#[rustfmt::skip]
const SUFFERINGS: [Suffering; 4] = [
    Suffering { name: "qemu-killed", injection: Injection::Signal("KILL"), outcome: Outcome::Broken, within: 10,
        told: |fault| matches!(fault, Fault::Exited { status, .. } if status.contains("signal: 9")) },
    Suffering { name: "qemu-stopped", injection: Injection::Signal("STOP"), outcome: Outcome::Broken, within: 15,
        told: |fault| matches!(fault, Fault::Hung { state: ProcessState::Stopped, .. }) },
    Suffering { name: "guest-paused", injection: Injection::Monitor(r#"{"execute":"stop"}"#),
        outcome: Outcome::Broken, within: 10,
        told: |fault| matches!(fault, Fault::Stopped { reason } if reason == "paused") },
    Suffering { name: "link-off", outcome: Outcome::Failed, within: 25,
        injection: Injection::Monitor(r#"{"execute":"set_link","arguments":{"name":"network","up":false}}"#),
        told: |fault| matches!(fault, Fault::Ssh { what, .. } if what.contains("no network link is up")) },
];
/// What a guest says on its console when it can be made to suffer.
const UNDER_WAY: &str = "a step is under way";

#[test]
fn a_machine_that_is_killed_stopped_or_cut_off_under_a_step_is_told_and_the_others_go_on() {
    let scratch = tempfile::tempdir().expect("a directory");
    let scenario = |name: &str, seconds: u32| {
        let path = Utf8PathBuf::from_path_buf(scratch.path().join(format!("{name}.toml"))).expect("UTF-8");
        let text = format!(
            "summary = \"Something happens to its machine\"\n[[step]]\nsummary = \"the guest is busy\"\n\
             run = \"echo {UNDER_WAY} >/dev/ttyS0; sleep {seconds}; echo done\"\nuser = \"root\"\n\
             timeout = \"10min\"\nstdout.equals = \"done\\n\"\n"
        );
        fs::write(&path, text).expect("written");
        path.into_string()
    };
    let mut scenarios = SUFFERINGS.map(|suffering| scenario(suffering.name, 300)).to_vec();
    // It is under way while the others suffer.
    scenarios.push(scenario("bystander", 30));
    let files: Vec<&str> = scenarios.iter().map(String::as_str).collect();
    let run = GuestRun::of(&files).with(&["--jobs", "5", "--start", "warm"]).start();
    let injected = SUFFERINGS.map(|Suffering { name, injection, .. }| {
        run.wait_for(&format!("{name}/console.log"), UNDER_WAY, BOOT);
        injection.inject(&run.path.join(name), run.child.id());
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock")
    });
    let run = run.finish();
    run.assert(1, &["verdict: failed"]);
    let events = run.events();
    for (Suffering { name, outcome, told, within, .. }, injected) in SUFFERINGS.into_iter().zip(injected) {
        let fault = fault_of(&run, name);
        assert!(told(&fault), "`{name}`: another fault: {fault:?}");
        let end = events.iter().find_map(|event| match &event.kind {
            EventKind::ScenarioFinished { scenario, outcome, .. } if scenario.name == name => {
                Some((*outcome, event.time_us))
            }
            _ => None,
        });
        let (ended, time_us) = end.expect("an end");
        let after = Duration::from_micros(time_us).saturating_sub(injected);
        println!("{name}: after {after:.1?}: {fault}");
        assert_eq!(ended, outcome, "`{name}`: {fault}");
        assert!(after < Duration::from_secs(within), "`{name}`: it took {after:?} to tell: {fault}");
    }
    let EventKind::ScenarioFinished { outcome, .. } = run.end_of("bystander") else { unreachable!() };
    assert_eq!(outcome, Outcome::Passed, "the run said:\n{}", run.words());
    assert!(processes_with(run.path.as_str()).is_empty(), "what was stopped is gone as well");
    a_full_disk_is_told(&scenario);
}

/// The host's disk is full of what a copy of the same boot writes.
#[expect(clippy::print_stdout, reason = "what is seen with --nocapture is the table of the faults")]
fn a_full_disk_is_told(scenario: &dyn Fn(&str, u32) -> String) {
    let path = scenario("disk-full", 300);
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replace("sleep 300", "dd if=/dev/urandom of=/var/filling bs=1M count=1024"))
        .expect("written");
    let begun = Instant::now();
    let run = GuestRun::of(&[&path]).with(&["--start", "warm"]).with_room(32).finish();
    run.assert(70, &["No space left on device", "free space in TMPDIR", "verdict: broken"]);
    let fault = fault_of(&run, "disk-full");
    println!("disk-full: after {:.1?}, its start included: {fault}", begun.elapsed());
    assert!(
        matches!(&fault, Fault::Disk { device, operation, .. } if device == "disk" && operation == "write")
    );
    assert!(begun.elapsed() < Duration::from_mins(1), "it took {:?} to tell", begun.elapsed());

    // Where it is the records that cannot be written the guest is judged, but the run is not relied on.
    let path = scenario("records-full", 0);
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replace("sleep 0", "seq 1 100000 >/dev/ttyS0")).expect("written");
    let run = GuestRun::of(&[&path]).with(&["--start", "warm"]).with_room_for_records(200).finish();
    let told = ["records-full: passed", "free space on the file system of", "verdict: broken"];
    run.assert(70, &told);
    assert_eq!(
        run.words().matches("the console cannot be written to its file").count(),
        1,
        "{}",
        run.words()
    );
}

/// Guests that write without end to a port of the harness, which they take from its unit first.
const FLOODS: [(&str, &str, &str); 2] = [
    (
        "event port",
        "systemctl stop loadgauge-ready; seq 20000 >/dev/virtio-ports/org.loadgauge.events; sleep 300",
        "",
    ),
    (
        "journal",
        "systemctl stop loadgauge-journal; yes '{}' >/dev/virtio-ports/org.loadgauge.journal",
        "bytes of the journal are left out here",
    ),
];

#[test]
fn a_guest_that_floods_a_port_is_the_cause_and_its_record_is_bounded() {
    let scratch = tempfile::tempdir().expect("a directory");
    for (number, (port, command, note)) in FLOODS.into_iter().enumerate() {
        let path = scratch.path().join(format!("flood-{number}.toml"));
        let text = format!(
            "summary = \"The guest floods a port\"\n[[step]]\nsummary = \"it floods\"\nuser = \"root\"\n\
             run = \"{command}\"\ntimeout = \"10min\"\n"
        );
        fs::write(&path, text).expect("written");
        let run = GuestRun::of(&[path.to_str().expect("UTF-8")]).with(&["--start", "warm"]).finish();
        run.assert(1, &["verdict: failed", "the guest wrote more than", port]);
        let name = format!("flood-{number}");
        let fault = fault_of(&run, &name);
        assert!(matches!(&fault, Fault::Flood { what, .. } if what == port), "{fault:?}");
        let journal = run.path.join(&name).join("journal.jsonl");
        assert!(journal.metadata().expect("a record").len() < 64 << 20, "it is bounded");
        let found = fs::read(&journal).expect("read");
        assert!(String::from_utf8_lossy(&found).contains(note), "`{note}` is not in `{journal}`");
    }
}

/// How long it may take from the guest being up, so from the cause or a little before it, until it is
/// told that the guest can no longer be asked: what is slow to answer is looked at after ten seconds.
const SILENCE: Duration = Duration::from_secs(40);
/// Guests that are up and cannot be asked, and words of why.
const CUT_OFF: [(&str, [&str; 2]); 3] = [
    ("no-ssh", ["the guest reported that it is ready", "no unit of sshd is active"]),
    ("ssh-dies", ["nothing listens on the guest's port 22", "no unit of sshd is active"]),
    ("network-gone", ["a command is not answered", "no network link is up"]),
];

#[test]
fn a_guest_that_can_no_longer_be_asked_is_told_with_its_cause_and_the_others_go_on() {
    let mut scenarios = CUT_OFF.map(|(name, _)| format!("{name}.toml")).to_vec();
    scenarios.push("clock-set.toml".to_owned());
    let run = GuestRun::of(&scenarios.iter().map(String::as_str).collect::<Vec<_>>()).finish();
    run.assert(1, &["verdict: failed"]);
    let events = run.events();
    for (name, words) in CUT_OFF {
        let EventKind::ScenarioFinished { outcome, cause, .. } = run.end_of(name) else { unreachable!() };
        assert_eq!(outcome, Outcome::Failed, "`{name}`; the run said:\n{}", run.words());
        let cause = cause.expect("it did not come to its end");
        let told = match &cause.fault {
            Some(Fault::Ssh { what, .. }) => what,
            other => panic!("`{name}`: {other:?}; the run said:\n{}", run.words()),
        };
        assert!(words.iter().all(|word| told.contains(word)), "`{name}`: {told}");
        let of_step = events.iter().find_map(|event| match &event.kind {
            EventKind::StepFinished { scenario, finding: Some(finding), .. } if scenario.name == name => {
                Some(&finding.found)
            }
            _ => None,
        });
        // Nothing was under way where there never was a connection.
        let once = of_step.is_some_and(|found| *found == cause.message || name == "no-ssh");
        assert!(once, "`{name}`: the step says {of_step:?}, and the scenario: {}", cause.message);
        let at = |wanted: fn(&EventKind) -> Option<&str>| {
            let of = |kind: &EventKind| wanted(kind) == Some(name);
            events.iter().filter(|event| of(&event.kind)).map(|event| event.time_us).next_back()
        };
        let up = at(|kind| match kind {
            EventKind::MachineReady { scenario, .. } => Some(scenario.name.as_str()),
            _ => None,
        });
        let end = at(|kind| match kind {
            EventKind::ScenarioFinished { scenario, .. } => Some(scenario.name.as_str()),
            _ => None,
        });
        let after = Duration::from_micros(end.expect("an end") - up.expect("it was up"));
        println!("{name}: {after:.1?} after it was up: {told}");
        assert!(after < SILENCE, "`{name}`: it took {after:?} to tell: {told}");
    }
    clock_is_told(&run);
}

/// Its checks are judged as ever, and the sweep tells that its clock is wrong.
fn clock_is_told(run: &guest_run::Finished) {
    let steps = run.events().into_iter().filter_map(|event| match event.kind {
        EventKind::StepFinished { scenario, summary, outcome, finding, .. }
            if scenario.name == "clock-set" =>
        {
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
