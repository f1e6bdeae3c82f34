// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, Instant};

use super::scripted::{Answer, Boot, Trial, panic_fault};
use super::*;
use crate::check::Outcome::{self, Broken, Failed, Flaky, Passed, Skipped};
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
    assert_eq!(report.steps("dead"), [Failed, Skipped]);
    assert_eq!(report.findings("dead")[0].1, panic_fault().to_string(), "step and scenario tell one cause");
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
async fn what_is_waived_is_said_with_its_reason_and_fails_nothing() {
    let waive = Action::Waive { reason: "the unit fails on purpose".to_owned() };
    let report = Trial::new(1).actions("a", vec![Action::Ask(Answer::Pass), waive]).run().await;
    let expected = (Skipped, "waived: the unit fails on purpose".to_owned());
    assert_eq!(report.findings("a").pop(), Some(expected));
    assert_eq!(report.end("a").0, Passed);
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

#[tokio::test]
async fn what_fails_and_then_passes_is_flaky_and_never_simply_passed() {
    let report = Trial::new(1)
        .scenario("flaky", &[Answer::Pass])
        .at_first(&[Answer::Fail])
        .scenario("broken-once", &[Answer::Pass])
        .at_first(&[Answer::Lost])
        .scenario("never", &[Answer::Fail])
        .scenario("steady", &[Answer::Pass])
        .with(|run| run.retries = 2)
        .run()
        .await;
    let counts = Counts { flaky: 2, failed: 1, passed: 1, ..Counts::default() };
    assert_eq!(report.tally.counts, counts);
    assert_eq!(report.end("flaky"), (Flaky, None));
    assert_eq!(report.end("broken-once").0, Flaky, "whatever it was, it did not pass at first");
    assert_eq!(report.steps("flaky"), [Failed, Passed]);
    assert_eq!(report.steps("never"), [Failed, Failed, Failed]);
    let attempts: Vec<(String, u32, Outcome)> = report
        .events
        .iter()
        .filter_map(|event| match event {
            EventKind::AttemptFinished { scenario, attempt, outcome, .. } => {
                Some((scenario.clone(), *attempt, *outcome))
            }
            _ => None,
        })
        .collect();
    let expected =
        [("broken-once", 1, Broken), ("flaky", 1, Failed), ("never", 1, Failed), ("never", 2, Failed)];
    assert_eq!(attempts, expected.map(|(name, attempt, outcome)| (name.to_owned(), attempt, outcome)));
    assert_eq!(report.stopped.len(), 8, "each attempt has a machine of its own");
}

#[tokio::test]
async fn the_evidence_of_each_attempt_has_a_directory_of_its_own() {
    let report = Trial::new(1)
        .scenario("a", &[Answer::Pass])
        .at_first(&[Answer::Fail])
        .with(|run| run.retries = 1)
        .run()
        .await;
    assert_eq!(report.directories, ["/run/a/attempt-1", "/run/a/attempt-2"]);
    let without = Trial::new(1).scenario("a", &[Answer::Pass]).run().await;
    assert_eq!(without.directories, ["/run/a"]);
}

#[tokio::test]
async fn a_flaky_scenario_ends_a_run_that_fails_fast_where_flaky_is_failed() {
    let trial = |flaky| {
        let trial = Trial::new(1).scenario("a", &[Answer::Pass]).at_first(&[Answer::Fail]);
        trial.scenario("b", &[Answer::Pass]).fail_fast().with(move |run| {
            run.retries = 1;
            run.flaky = flaky;
        })
    };
    assert_eq!(trial(FlakyPolicy::Fail).run().await.tally.counts.skipped, 1);
    assert_eq!(trial(FlakyPolicy::Pass).run().await.tally.counts.passed, 1);
}

#[tokio::test]
async fn an_interrupted_run_tries_nothing_again() {
    let report = Trial::new(1)
        .scenario("a", &[Answer::Hang])
        .with(|run| run.retries = 5)
        .interrupted_after(Duration::from_millis(50))
        .run()
        .await;
    assert_eq!(report.stopped, ["a"]);
    assert_eq!(report.end("a").0, Skipped);
}

#[tokio::test]
async fn the_memory_of_the_host_limits_how_many_run() {
    let mut trial = Trial::new(8);
    for name in ["a", "b", "c", "d"] {
        trial = trial.scenario(name, &[Answer::After(Duration::from_millis(30))]);
    }
    let report = trial.with(|run| run.budget.memory_mib = 2500).run().await;
    assert_eq!(report.most, 2);
    let Some(EventKind::RunStarted { jobs, .. }) = report.events.first() else { panic!("no beginning") };
    assert_eq!(*jobs, 2);
}

#[tokio::test]
async fn a_large_machine_lets_small_ones_go_first_and_gets_its_turn() {
    let wait = [Answer::After(Duration::from_millis(30))];
    let report = Trial::new(8)
        .scenario("a", &wait)
        .scenario("b-large", &wait)
        .needs(1, 9000)
        .scenario("c", &wait)
        .with(|run| run.budget.memory_mib = 2500)
        .run()
        .await;
    assert_eq!(report.started(), ["a", "c", "b-large"]);
    assert_eq!((report.most, report.tally.counts.passed), (2, 3));
}

#[tokio::test]
async fn the_longest_is_started_first_and_a_seed_shuffles() {
    let trial = || {
        ["a", "b", "c", "d"].iter().fold(Trial::new(1), |trial, name| trial.scenario(name, &[Answer::Pass]))
    };
    let took = ["a", "b", "c", "d"].iter().zip([1, 9, 5, 1]);
    let took = took.map(|(name, seconds)| ((*name).to_owned(), Duration::from_secs(seconds))).collect();
    let timed = trial().with(|run| run.order.expected = took).run().await;
    assert_eq!(timed.started(), ["b", "c", "a", "d"]);
    let shuffled = |seed| trial().with(move |run| run.order.seed = Some(seed)).run();
    let (one, again) = (shuffled(3).await, shuffled(3).await);
    assert_eq!(one.started(), again.started());
    assert!(matches!(one.events.first(), Some(EventKind::RunStarted { seed: Some(3), .. })));
    let mut orders = Vec::new();
    for seed in 0..5 {
        orders.push(shuffled(seed).await.started().join(" "));
    }
    orders.dedup();
    assert!(orders.len() > 1, "{orders:?}");
}

#[tokio::test]
async fn repetitions_have_a_machine_each_and_are_reported_apart() {
    let report = Trial::new(1)
        .scenario("a@1", &[Answer::Pass])
        .at_first(&[Answer::Fail])
        .scenario("a@2", &[Answer::Pass])
        .run()
        .await;
    assert_eq!((report.end("a@1").0, report.end("a@2").0), (Failed, Passed));
    assert_eq!(report.stopped, ["a", "a"]);
}

#[tokio::test]
async fn what_takes_too_long_is_told_with_what_is_waited_for_before_it_is_ended() {
    let report = Trial::new(1)
        .scenario("slow", &[Answer::Hang])
        .timeout(Duration::from_millis(40))
        .scenario("never-up", &[Answer::Pass])
        .boot("never-up", Boot::Never)
        .with(|run| run.limits.boot = Duration::from_millis(30))
        .run()
        .await;
    let overdue: Vec<(&str, &str, u64, u64)> = report
        .events
        .iter()
        .filter_map(|event| match event {
            EventKind::Overdue { scenario, what, expected_ms, limit_ms } => {
                Some((scenario.as_str(), what.as_str(), *expected_ms, *limit_ms))
            }
            _ => None,
        })
        .collect();
    assert_eq!(overdue, [("never-up", "the guest to be up", 30, 60), ("slow", "step 1, Ask(Hang)", 40, 80)]);
    let cause = report.end("slow").1.expect("a cause");
    assert!(cause.message.contains("waiting for step 1, Ask(Hang)"), "{cause:?}");
    assert_eq!(report.end("never-up").0, Failed);
}

#[tokio::test]
async fn the_machine_of_what_failed_is_kept_where_it_is_asked_for() {
    let trial = |keep| {
        Trial::new(1)
            .scenario("dead", &[Answer::Die(panic_fault())])
            .scenario("fails", &[Answer::Fail])
            .scenario("passes", &[Answer::Pass])
            .with(move |run| run.keep = keep)
    };
    let report = trial(KeepPolicy::OnFailure).run().await;
    assert_eq!(report.kept, ["fails"], "a dead machine is of no use");
    assert_eq!(report.stopped, ["dead", "passes"]);
    let told = report.events.iter().any(|event| {
        matches!(event, EventKind::MachineKept { scenario, ssh, .. } if scenario == "fails" && ssh == "ssh fails")
    });
    assert!(told, "{:?}", report.events);
    assert_eq!(trial(KeepPolicy::Always).run().await.kept, ["fails", "passes"]);
    assert!(trial(KeepPolicy::Never).run().await.kept.is_empty());
}

#[tokio::test]
async fn no_more_machines_are_kept_than_memory_allows() {
    let mut trial = Trial::new(1);
    for name in ["a", "b", "c", "d"] {
        trial = trial.scenario(name, &[Answer::Fail]);
    }
    let trial = trial.with(|run| {
        run.keep = KeepPolicy::OnFailure;
        run.budget.memory_mib = 3500;
    });
    let report = trial.run().await;
    assert_eq!(report.kept, ["a", "b"], "and there is room for one that runs");
    assert_eq!(report.tally.counts.failed, 4);
}

#[tokio::test]
async fn who_keeps_nothing_takes_no_room_while_it_stops() {
    let later = Answer::After(Duration::from_millis(50));
    let trial = Trial::new(2).scenario("a", &[Answer::Pass]).scenario("b", &[later, Answer::Fail]);
    let trial = trial.slow_to_stop("a").with(|run| {
        run.keep = KeepPolicy::OnFailure;
        // Room for two that run, or for one that is kept.
        run.budget.memory_mib = 2000;
    });
    assert_eq!(trial.run().await.kept, ["b"]);
}

#[tokio::test]
async fn each_attempt_that_fails_is_kept_under_a_name_of_its_own() {
    let report = Trial::new(1)
        .scenario("a", &[Answer::Pass])
        .at_first(&[Answer::Fail, Answer::Fail])
        .with(|run| (run.retries, run.keep) = (2, KeepPolicy::OnFailure))
        .run()
        .await;
    assert_eq!(report.end("a").0, Flaky);
    assert_eq!(report.kept, ["a", "a.attempt-2"]);
}

#[tokio::test]
async fn steps_ask_the_machine_that_they_name() {
    let actions = [Answer::Pass, Answer::Pass, Answer::Pass];
    let report = Trial::new(1).scenario("a", &actions).machines(&["server", "client"]).run().await;
    assert_eq!(report.asked, ["a/0", "a/1", "a/0"]);
    assert_eq!(report.end("a"), (Outcome::Passed, None));
    assert_eq!((report.most, report.left), (2, 0));
    let named = report.events.iter().filter_map(|event| match event {
        EventKind::MachineReady { machine, .. } | EventKind::StepFinished { machine, .. } => {
            machine.as_deref()
        }
        _ => None,
    });
    assert_eq!(named.collect::<Vec<_>>(), ["server", "client", "server", "client", "server"]);
    let mut stopped = report.stopped.clone();
    stopped.sort();
    assert_eq!(stopped, ["a/0", "a/1"]);
}

#[tokio::test]
async fn a_machine_that_dies_ends_its_scenario_and_is_named() {
    let actions = [Answer::Pass, Answer::Die(panic_fault()), Answer::Pass];
    let trial = Trial::new(1).scenario("a", &actions).machines(&["server", "client"]);
    let report = trial.with(|run| run.keep = KeepPolicy::OnFailure).run().await;
    let (outcome, cause) = report.end("a");
    let cause = cause.expect("a cause");
    assert_eq!((outcome, cause.machine.as_deref()), (Outcome::Failed, Some("client")));
    assert!(cause.message.starts_with("machine `client`: "), "{}", cause.message);
    assert_eq!(report.kept, ["a.server"], "the one that lives is what there is to look into");
    assert_eq!(report.stopped, ["a/1"]);
}

#[tokio::test]
async fn a_death_is_seen_while_another_machine_is_asked() {
    // The second machine dies while the first is asked something that it never answers.
    let actions = [Answer::Pass, Answer::LostThenDead, Answer::Hang];
    let report = Trial::new(1).scenario("a", &actions).machines(&["server", "client"]).run().await;
    let (outcome, cause) = report.end("a");
    assert_eq!(
        (outcome, cause.and_then(|cause| cause.machine)),
        (Outcome::Failed, Some("client".to_owned()))
    );
}

#[tokio::test]
async fn a_machine_that_does_not_start_takes_the_others_along() {
    let trial = Trial::new(1).scenario("a", &[Answer::Pass]).machines(&["server", "client"]);
    let report = trial.boot("a/1", Boot::NotStarted).run().await;
    let (outcome, cause) = report.end("a");
    let cause = cause.expect("a cause");
    assert_eq!((outcome, cause.message.as_str()), (Outcome::Broken, "machine `client`: cannot start QEMU"));
    assert_eq!(report.left, 0);
}
