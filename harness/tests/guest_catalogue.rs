// SPDX-License-Identifier: Apache-2.0
//! The whole catalogue on a real guest.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod guest_run;

use guest_run::GuestRun;
use loadgauge::check::Outcome;
use loadgauge::machine::Start;
use loadgauge::runner::EventKind;

/// The only steps that a scenario of the catalogue does without, and says why.
const WAIVED: [(&str, &str); 2] =
    [("ddi-refused", "sweep: no unit failed"), ("refused-name", "sweep: no unit failed")];

/// The scenarios that `make test` runs. `make test-all` runs the whole catalogue.
const SELECTED: &[&str] = if cfg!(feature = "all-guest-tests") {
    &[
        "containerd-disabled",
        "ddi-refused",
        "ddi-signed",
        "docker-replace",
        "docker-vendor",
        "hello",
        "kernel-arguments",
        "plugins",
        "podman",
        "refused",
        "refused-name",
        "swap",
        "two-machines",
    ]
} else {
    &["ddi-signed", "docker-replace", "docker-vendor", "hello", "kernel-arguments", "refused", "swap"]
};
/// Scenarios for another era, which `guest_standin` runs there.
const SKIPPED: &[&str] = if cfg!(feature = "all-guest-tests") {
    &["docker-torcx", "docker-torcx-masked"]
} else {
    &["docker-torcx"]
};

#[test]
fn the_scenarios_of_the_catalogue_hold() {
    let patterns = [SELECTED, SKIPPED].concat();
    let all = cfg!(feature = "all-guest-tests");
    let run = GuestRun::of(if all { &[] } else { &patterns }).finish();
    run.assert(0, &["verdict: passed"]);
    let (mut names, mut skipped) = (Vec::new(), 0);
    for event in run.events() {
        match event.kind {
            EventKind::ScenarioSkipped { scenario, reason } if SKIPPED.contains(&scenario.name.as_str()) => {
                assert_eq!(reason, "needs era torcx, the image has sysext");
                skipped += 1;
            }
            EventKind::ScenarioSkipped { scenario, reason } => panic!("`{scenario}` was skipped: {reason}"),
            EventKind::StepFinished { scenario, summary, outcome, .. } => {
                let expected = if WAIVED.contains(&(scenario.name.as_str(), summary.as_str())) {
                    Outcome::Skipped
                } else {
                    Outcome::Passed
                };
                assert_eq!(outcome, expected, "`{scenario}`, {summary}");
            }
            // These two have the same machine, without any extension of their own. Others start warm
            // where an earlier run left a snapshot.
            EventKind::MachineReady { scenario, start: Some(started), .. }
                if ["docker-vendor", "swap"].contains(&scenario.name.as_str()) =>
            {
                assert_eq!(started.start, Start::Warm, "`{scenario}`: {}", started.reason);
            }
            EventKind::ScenarioFinished { scenario, outcome, .. } => {
                assert_eq!(outcome, Outcome::Passed, "`{scenario}`");
                names.push(scenario.to_string());
            }
            _ => {}
        }
    }
    names.sort();
    assert_eq!(names, SELECTED);
    for name in SELECTED {
        let machines: &[&str] = if *name == "two-machines" { &["server", "client"] } else { &[""] };
        let records = ["console.log", "journal.jsonl", "config.ign", "qemu.txt"];
        let records = machines.iter().flat_map(|machine| records.map(|file| format!("{machine}/{file}")));
        for file in records.chain(["result.json".to_owned()]) {
            let path = run.path.join(name).join(file.trim_start_matches('/'));
            let bytes = std::fs::metadata(&path).unwrap_or_else(|error| panic!("`{path}`: {error}")).len();
            assert!(bytes > 0, "`{path}` is empty");
        }
        let commands = run.path.join(name).join("commands").read_dir_utf8().expect("outputs of commands");
        assert!(commands.count() > 3, "`{name}` kept too few outputs of commands");
    }
    let junit = std::fs::read_to_string(run.path.join("junit.xml")).expect("junit.xml");
    assert_eq!(junit.matches("<testsuite ").count(), SELECTED.len() + skipped);
    assert_eq!(skipped, SKIPPED.len());
    assert!(!junit.contains("<failure"), "{junit}");
}
