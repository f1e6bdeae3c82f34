// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, Instant};

use super::scripted::{Answer, Boot, Trial, panic_fault};
use super::*;
use crate::check::Outcome::{Broken, Failed, Passed, Skipped};
use crate::machine::Fault;

#[tokio::test]
async fn scenarios_run_in_order_and_are_counted() {
    let report = Trial::new(1)
        .scenario("b", &[Answer::Pass])
        .scenario("a", &[Answer::Fail, Answer::Pass])
        .scenario("c", &[Answer::Pass])
        .skipped("torcx", "requires era torcx")
        .run()
        .await;
    assert_eq!(report.started(), ["a", "b", "c"]);
    assert_eq!(report.steps("a"), [Failed, Passed], "a failed step does not end its scenario");
    assert_eq!(report.tally.counts, Counts { passed: 2, failed: 1, skipped: 1, ..Counts::default() });
    assert_eq!(report.stopped, ["a", "b", "c"]);
    assert!(matches!(report.events.first(), Some(EventKind::RunStarted { format: FORMAT, .. })));
    let Some(EventKind::RunFinished { counts, interrupted: false, .. }) = report.events.last() else {
        panic!("the last event is another one: {:?}", report.events.last());
    };
    assert_eq!(*counts, report.tally.counts);
}

#[tokio::test]
async fn no_more_machines_run_than_are_allowed() {
    let mut trial = Trial::new(2);
    for name in ["a", "b", "c", "d", "e"] {
        trial = trial.scenario(name, &[Answer::After(Duration::from_millis(30))]);
    }
    let report = trial.run().await;
    assert_eq!(report.most, 2);
    assert_eq!(report.tally.counts.passed, 5);
}

#[tokio::test]
async fn a_machine_that_dies_ends_its_scenario_at_once() {
    let started = Instant::now();
    let report = Trial::new(1)
        .scenario("dies", &[Answer::Pass, Answer::Die(panic_fault()), Answer::Pass, Answer::Pass])
        .run()
        .await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let findings = report.findings("dies");
    assert_eq!(report.steps("dies"), [Passed, Failed, Skipped, Skipped]);
    assert!(findings[1].1.contains("Kernel panic"), "{findings:?}");
    assert_eq!(findings[2].1, "not reached: the machine died");
    let (outcome, cause) = report.end("dies");
    let cause = cause.expect("a cause");
    assert_eq!(outcome, Failed, "a guest that panics fails");
    assert_eq!(cause.fault, Some(panic_fault()));
    assert!(cause.hint.is_some_and(|hint| hint.contains("PID 1")));
    assert_eq!(report.stopped, ["dies"]);
}

#[tokio::test]
async fn a_lost_connection_is_explained_by_the_death_behind_it() {
    let report = Trial::new(1)
        .scenario("dead", &[Answer::LostThenDead, Answer::Pass])
        .scenario("lost", &[Answer::Lost, Answer::Pass])
        .run()
        .await;
    assert_eq!(report.end("dead").1.and_then(|cause| cause.fault), Some(panic_fault()));
    assert_eq!(report.steps("lost"), [Broken, Skipped]);
    let (outcome, cause) = report.end("lost");
    assert_eq!(outcome, Broken);
    assert_eq!(cause.map(|cause| cause.message).as_deref(), Some("nothing can follow step 1"));
}

#[tokio::test]
async fn what_the_guest_does_fails_and_what_the_host_does_breaks() {
    let stopped = Fault::Stopped { reason: "internal-error".to_owned() };
    let report = Trial::new(1)
        .scenario("guest", &[Answer::Pass])
        .boot("guest", Boot::Dies(panic_fault()))
        .scenario("host", &[Answer::Pass])
        .boot("host", Boot::Dies(stopped))
        .scenario("qemu", &[Answer::Pass])
        .boot("qemu", Boot::NotStarted)
        .run()
        .await;
    assert_eq!(report.end("guest").0, Failed);
    assert_eq!(report.end("host").0, Broken);
    let (outcome, cause) = report.end("qemu");
    assert_eq!((outcome, cause.and_then(|cause| cause.hint).as_deref()), (Broken, Some("install it")));
    for name in ["guest", "host", "qemu"] {
        assert_eq!(report.steps(name), [Skipped], "{name}");
    }
    assert_eq!(report.left, 0);
}

#[tokio::test]
async fn a_reboot_must_change_the_boot_id() {
    let actions = || vec![Action::Ask(Answer::Pass), Action::Reboot, Action::Ask(Answer::Pass)];
    let report = Trial::new(1)
        .actions("does", actions())
        .actions("never", actions())
        .boot("never", Boot::NeverReboots)
        .run()
        .await;
    assert_eq!(report.steps("does"), [Passed, Passed, Passed]);
    assert_eq!(report.steps("never"), [Passed, Failed, Skipped], "a failed reboot ends its scenario");
    assert_eq!(report.end("never").0, Failed);
    let boots = report
        .events
        .iter()
        .filter(|event| matches!(event, EventKind::MachineReady { scenario, .. } if scenario == "does"));
    assert_eq!(boots.count(), 2);
}

#[tokio::test]
async fn an_interrupted_run_stops_its_machines_and_says_its_last_word() {
    let report = Trial::new(1)
        .scenario("a", &[Answer::Fail, Answer::Hang, Answer::Pass])
        .scenario("b", &[Answer::Pass])
        .interrupted_after(Duration::from_millis(50))
        .run()
        .await;
    assert!(report.tally.interrupted);
    assert_eq!(report.started(), ["a"]);
    assert_eq!(report.steps("a"), [Failed, Skipped, Skipped]);
    assert_eq!(report.end("a").0, Failed, "what failed has failed");
    assert_eq!(report.skip_reason("b"), Some("not started: the run was interrupted"));
    assert_eq!((report.stopped, report.left), (vec!["a".to_owned()], 0));
    assert!(matches!(report.events.last(), Some(EventKind::RunFinished { interrupted: true, .. })));
}

#[tokio::test]
async fn a_panic_of_the_harness_breaks_one_scenario_and_no_more() {
    let report = Trial::new(1)
        .scenario("a", &[Answer::Panic, Answer::Pass])
        .scenario("b", &[Answer::Pass])
        .run()
        .await;
    let (outcome, cause) = report.end("a");
    assert_eq!(outcome, Broken);
    assert_eq!(cause.expect("a cause").message, "the harness panicked: index out of bounds");
    assert_eq!(report.steps("a"), [Broken, Skipped]);
    assert_eq!(report.end("b").0, Passed);
    assert_eq!((report.stopped.len(), report.left), (2, 0));
}

#[tokio::test]
async fn failing_fast_starts_nothing_more_and_says_why() {
    let report = Trial::new(1)
        .scenario("a", &[Answer::Pass])
        .scenario("b", &[Answer::Fail])
        .scenario("c", &[Answer::Pass])
        .fail_fast()
        .run()
        .await;
    assert_eq!(report.started(), ["a", "b"]);
    let reason = report.skip_reason("c").expect("skipped");
    assert_eq!(reason, "not started, since `b` did not pass and the run fails fast");
}

#[tokio::test]
async fn a_scenario_that_takes_too_long_fails_with_the_end_of_its_console() {
    let report = Trial::new(1)
        .scenario("slow", &[Answer::Hang, Answer::Pass])
        .timeout(Duration::from_millis(50))
        .run()
        .await;
    assert_eq!(report.steps("slow"), [Failed, Skipped]);
    let fault = report.end("slow").1.and_then(|cause| cause.fault).expect("a fault");
    assert_eq!(fault.console(), ["the last line"]);
    assert_eq!((report.stopped.len(), report.left), (1, 0));
}

#[tokio::test]
async fn every_wait_is_told_when_it_begins() {
    let report = Trial::new(1).scenario("a", &[Answer::Pass]).run().await;
    let waits: Vec<&str> = report
        .events
        .iter()
        .filter_map(|event| match event {
            EventKind::Waiting { what, .. } => Some(what.as_str()),
            _ => None,
        })
        .collect();
    let expected = [
        "the machine to start",
        "the guest to be up",
        "an SSH connection",
        "step 1, Ask(Pass)",
        "the machine to stop",
    ];
    assert_eq!(waits, expected);
}
