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

#[test]
fn every_scenario_of_the_catalogue_holds() {
    let run = GuestRun::of(&[]).finish();
    run.assert(0, &["verdict: passed"]);
    let (mut names, mut skipped) = (Vec::new(), 0);
    for event in run.events() {
        match event.kind {
            // These are for another era, and `guest_standin` runs them there.
            EventKind::ScenarioSkipped { scenario, reason } if scenario.name.starts_with("docker-torcx") => {
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
    let expected = [
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
    ];
    assert_eq!(names, expected);
    for name in expected {
        let machines: &[&str] = if name == "two-machines" { &["server", "client"] } else { &[""] };
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
    assert_eq!(junit.matches("<testsuite ").count(), expected.len() + skipped);
    assert_eq!(skipped, 2, "docker-torcx and docker-torcx-masked");
    assert!(!junit.contains("<failure"), "{junit}");
}
