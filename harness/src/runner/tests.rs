// SPDX-License-Identifier: Apache-2.0
use std::time::{Duration, Instant};

use super::scripted::{Boot, Script, TestRun, panic_fault};
use super::*;
use crate::check::Outcome::{self, Broken, Failed, Flaky, Passed, Skipped};
use crate::machine::Fault;

#[tokio::test]
async fn scenarios_run_in_order_and_are_counted() {
    let report = TestRun::new(1)
        .scenario("b", &[Script::Pass])
        .scenario("a", &[Script::Fail, Script::Pass])
        .scenario("c", &[Script::Pass])
        .skipped("torcx", "requires era torcx")
        .run()
        .await;
    assert_eq!(report.started(), ["a", "b", "c"]);
    assert_eq!(report.steps("a"), [Failed, Passed], "a failed step does not end its scenario");
    assert_eq!(report.result.counts, Counts { passed: 2, failed: 1, skipped: 1, ..Counts::default() });
    assert_eq!(report.stopped, ["a", "b", "c"]);
    assert!(matches!(report.events.first(), Some(EventKind::RunStarted { format: FORMAT, .. })));
    let Some(EventKind::RunFinished { counts, interrupted: false, .. }) = report.events.last() else {
        panic!("the last event is another one: {:?}", report.events.last());
    };
    assert_eq!(*counts, report.result.counts);
}

#[tokio::test]
async fn no_more_machines_run_than_are_allowed() {
    let mut test_run = TestRun::new(2);
    for name in ["a", "b", "c", "d", "e"] {
        test_run = test_run.scenario(name, &[Script::After(Duration::from_millis(30))]);
    }
    let report = test_run.run().await;
    assert_eq!(report.most, 2);
    assert_eq!(report.result.counts.passed, 5);
}

#[tokio::test]
async fn a_machine_that_dies_ends_its_scenario_at_once() {
    let started = Instant::now();
    let report = TestRun::new(1)
        .scenario("dies", &[Script::Pass, Script::Die(panic_fault()), Script::Pass, Script::Pass])
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
async fn the_fault_of_the_machine_explains_a_lost_connection() {
    let report = TestRun::new(1)
        .scenario("dead", &[Script::LostThenDead, Script::Pass])
        .scenario("lost", &[Script::Lost, Script::Pass])
        .run()
        .await;
    assert_eq!(report.end("dead").1.and_then(|cause| cause.fault), Some(panic_fault()));
    assert_eq!(report.steps("dead"), [Failed, Skipped]);
    assert_eq!(
        report.findings("dead")[0].1,
        panic_fault().to_string(),
        "the step and the scenario have the same cause"
    );
    assert_eq!(report.steps("lost"), [Broken, Skipped]);
    let (outcome, cause) = report.end("lost");
    assert_eq!(outcome, Broken);
    assert_eq!(
        cause.map(|cause| cause.message).as_deref(),
        Some("the scenario cannot continue after step 1")
    );
}

#[tokio::test]
async fn faults_of_the_guest_fail_and_faults_of_the_host_break() {
    let stopped = Fault::Stopped { reason: "internal-error".to_owned() };
    let report = TestRun::new(1)
        .scenario("guest", &[Script::Pass])
        .boot("guest", Boot::Dies(panic_fault()))
        .scenario("host", &[Script::Pass])
        .boot("host", Boot::Dies(stopped))
        .scenario("qemu", &[Script::Pass])
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
    let actions = || vec![Action::Execute(Script::Pass), Action::Reboot, Action::Execute(Script::Pass)];
    let report = TestRun::new(1)
        .actions("does", actions())
        .actions("never", actions())
        .boot("never", Boot::NeverReboots)
        .run()
        .await;
    assert_eq!(report.steps("does"), [Passed, Passed, Passed]);
    assert_eq!(report.steps("never"), [Passed, Failed, Skipped], "a failed reboot ends its scenario");
    assert_eq!(report.end("never").0, Failed);
    let boots = report.events.iter().filter(
        |event| matches!(event, EventKind::MachineReady { scenario, .. } if scenario.to_string() == "does"),
    );
    assert_eq!(boots.count(), 2);
}

#[tokio::test]
async fn no_action_follows_a_failed_step_and_no_check_follows_an_action_that_was_left_out() {
    let step = |role, script| (role, Action::Execute(script));
    let (check, action, sweep) = (StepRole::Check, StepRole::Action, StepRole::Sweep);
    let report = TestRun::new(1)
        .roles(
            "guard",
            vec![
                step(check, Script::Fail),
                step(check, Script::Pass),
                step(action, Script::Pass),
                step(check, Script::Pass),
                (action, Action::Reboot),
                step(sweep, Script::Pass),
                step(sweep, Script::Fail),
                step(sweep, Script::Pass),
            ],
        )
        .roles(
            "action",
            vec![step(action, Script::Fail), step(check, Script::Pass), step(action, Script::Pass)],
        )
        .run()
        .await;
    let expected = [Failed, Passed, Skipped, Skipped, Skipped, Passed, Failed, Passed];
    assert_eq!(report.steps("guard"), expected);
    assert_eq!(report.findings("guard")[3].1, "not done: step 1 failed, and no action follows a failed step");
    assert_eq!(report.steps("action"), [Failed, Passed, Skipped]);
    assert_eq!(report.end("guard").0, Failed);
}

#[tokio::test]
async fn an_interrupted_run_stops_its_machines_and_emits_its_last_event() {
    let report = TestRun::new(1)
        .scenario("a", &[Script::Fail, Script::Hang, Script::Pass])
        .scenario("b", &[Script::Pass])
        .interrupted_after(Duration::from_millis(50))
        .run()
        .await;
    assert!(report.result.interrupted);
    assert_eq!(report.started(), ["a"]);
    assert_eq!(report.steps("a"), [Failed, Skipped, Skipped]);
    assert_eq!(report.end("a").0, Failed, "a failed step stays a failure");
    assert_eq!(report.skip_reason("b"), Some("not started: the run was interrupted"));
    assert_eq!((report.stopped, report.left), (vec!["a".to_owned()], 0));
    assert!(matches!(report.events.last(), Some(EventKind::RunFinished { interrupted: true, .. })));
}

#[tokio::test]
async fn a_panic_of_the_harness_breaks_one_scenario() {
    let report = TestRun::new(1)
        .scenario("a", &[Script::Panic, Script::Pass])
        .scenario("b", &[Script::Pass])
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
async fn a_run_that_fails_fast_starts_nothing_more_with_a_reason() {
    let report = TestRun::new(1)
        .scenario("a", &[Script::Pass])
        .scenario("b", &[Script::Fail])
        .scenario("c", &[Script::Pass])
        .fail_fast()
        .run()
        .await;
    assert_eq!(report.started(), ["a", "b"]);
    let reason = report.skip_reason("c").expect("skipped");
    assert_eq!(reason, "not started: `b` did not pass, and --fail-fast is set");
}

#[tokio::test]
async fn a_waived_step_is_skipped_with_its_reason() {
    let waive = Action::Waive { reason: "the unit fails on purpose".to_owned() };
    let report = TestRun::new(1).actions("a", vec![Action::Execute(Script::Pass), waive]).run().await;
    let expected = (Skipped, "waived: the unit fails on purpose".to_owned());
    assert_eq!(report.findings("a").pop(), Some(expected));
    assert_eq!(report.end("a").0, Passed);
}

#[tokio::test]
async fn a_scenario_that_takes_too_long_fails_with_the_end_of_its_console() {
    let report = TestRun::new(1)
        .scenario("slow", &[Script::Hang, Script::Pass])
        .timeout(Duration::from_millis(50))
        .run()
        .await;
    assert_eq!(report.steps("slow"), [Failed, Skipped]);
    let fault = report.end("slow").1.and_then(|cause| cause.fault).expect("a fault");
    assert_eq!(fault.console(), ["the last line"]);
    assert_eq!((report.stopped.len(), report.left), (1, 0));
}

#[tokio::test]
async fn every_wait_is_an_event() {
    let report = TestRun::new(1).scenario("a", &[Script::Pass]).run().await;
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
        "the guest to be ready",
        "an SSH connection",
        "step 1, Execute(Pass)",
        "the machine to stop",
    ];
    assert_eq!(waits, expected);
}

#[tokio::test]
async fn a_scenario_that_passes_at_a_later_attempt_is_flaky() {
    let report = TestRun::new(1)
        .scenario("flaky", &[Script::Pass])
        .at_first(&[Script::Fail])
        .scenario("broken-once", &[Script::Pass])
        .at_first(&[Script::Lost])
        .scenario("never", &[Script::Fail])
        .scenario("steady", &[Script::Pass])
        .with(|run| run.retries = 2)
        .run()
        .await;
    let counts = Counts { flaky: 2, failed: 1, passed: 1, ..Counts::default() };
    assert_eq!(report.result.counts, counts);
    assert_eq!(report.end("flaky"), (Flaky, None));
    assert_eq!(report.end("broken-once").0, Flaky, "it did not pass at the first attempt");
    assert_eq!(report.steps("flaky"), [Failed, Passed]);
    assert_eq!(report.steps("never"), [Failed, Failed, Failed]);
    let attempts: Vec<(String, u32, Outcome)> = report
        .events
        .iter()
        .filter_map(|event| match event {
            EventKind::AttemptFinished { scenario, attempt, outcome, .. } => {
                Some((scenario.to_string(), *attempt, *outcome))
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
async fn each_attempt_has_a_directory_when_there_are_retries() {
    let report = TestRun::new(1)
        .scenario("a", &[Script::Pass])
        .at_first(&[Script::Fail])
        .with(|run| run.retries = 1)
        .run()
        .await;
    assert_eq!(report.directories, ["/run/a/attempt-1", "/run/a/attempt-2"]);
    let without = TestRun::new(1).scenario("a", &[Script::Pass]).run().await;
    assert_eq!(without.directories, ["/run/a"]);
}

#[tokio::test]
async fn a_flaky_scenario_ends_a_run_that_fails_fast_where_flaky_is_failed() {
    let test_run = |flaky| {
        let test_run = TestRun::new(1).scenario("a", &[Script::Pass]).at_first(&[Script::Fail]);
        test_run.scenario("b", &[Script::Pass]).fail_fast().with(move |run| {
            run.retries = 1;
            run.flaky = flaky;
        })
    };
    assert_eq!(test_run(FlakyPolicy::Fail).run().await.result.counts.skipped, 1);
    assert_eq!(test_run(FlakyPolicy::Pass).run().await.result.counts.passed, 1);
}

#[tokio::test]
async fn an_interrupted_run_tries_nothing_again() {
    let report = TestRun::new(1)
        .scenario("a", &[Script::Hang])
        .with(|run| run.retries = 5)
        .interrupted_after(Duration::from_millis(50))
        .run()
        .await;
    assert_eq!(report.stopped, ["a"]);
    assert_eq!(report.end("a").0, Skipped);
}

#[tokio::test]
async fn the_memory_of_the_host_limits_how_many_run() {
    let mut test_run = TestRun::new(8);
    for name in ["a", "b", "c", "d"] {
        test_run = test_run.scenario(name, &[Script::After(Duration::from_millis(30))]);
    }
    let report = test_run.with(|run| run.budget.memory_mib = 2500).run().await;
    assert_eq!(report.most, 2);
    let Some(EventKind::RunStarted { jobs, .. }) = report.events.first() else { panic!("no beginning") };
    assert_eq!(*jobs, 2);
}

#[tokio::test]
async fn a_large_machine_lets_small_ones_go_first_and_gets_its_turn() {
    let wait = [Script::After(Duration::from_millis(30))];
    let report = TestRun::new(8)
        .scenario("a", &wait)
        .scenario("b-large", &wait)
        .needs(1, 9000)
        .scenario("c", &wait)
        .with(|run| run.budget.memory_mib = 2500)
        .run()
        .await;
    assert_eq!(report.started(), ["a", "c", "b-large"]);
    assert_eq!((report.most, report.result.counts.passed), (2, 3));
}

#[tokio::test]
async fn the_longest_is_started_first_and_a_seed_shuffles() {
    let test_run = || {
        ["a", "b", "c", "d"]
            .iter()
            .fold(TestRun::new(1), |test_run, name| test_run.scenario(name, &[Script::Pass]))
    };
    let took = ["a", "b", "c", "d"].iter().zip([1, 9, 5, 1]);
    let took = took.map(|(name, seconds)| ((*name).to_owned(), Duration::from_secs(seconds))).collect();
    let timed = test_run().with(|run| run.order.expected = took).run().await;
    assert_eq!(timed.started(), ["b", "c", "a", "d"]);
    let shuffled = |seed| test_run().with(move |run| run.order.seed = Some(seed)).run();
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
    let report = TestRun::new(1)
        .scenario("a@1", &[Script::Pass])
        .at_first(&[Script::Fail])
        .scenario("a@2", &[Script::Pass])
        .run()
        .await;
    assert_eq!((report.end("a@1").0, report.end("a@2").0), (Failed, Passed));
    assert_eq!(report.stopped, ["a", "a"]);
}

#[tokio::test]
async fn a_slow_wait_is_reported_before_it_fails() {
    let report = TestRun::new(1)
        .scenario("slow", &[Script::Hang])
        .timeout(Duration::from_millis(40))
        .scenario("never-up", &[Script::Pass])
        .boot("never-up", Boot::Never)
        .with(|run| run.limits.boot = Duration::from_millis(30))
        .run()
        .await;
    let overdue: Vec<(String, &str, u64, u64)> = report
        .events
        .iter()
        .filter_map(|event| match event {
            EventKind::Overdue { scenario, what, expected_ms, limit_ms } => {
                Some((scenario.to_string(), what.as_str(), *expected_ms, *limit_ms))
            }
            _ => None,
        })
        .collect();
    let expected = [("never-up", "the guest to be ready", 30, 60), ("slow", "step 1, Execute(Hang)", 40, 80)];
    assert_eq!(
        overdue,
        expected.map(|(name, what, expected, limit)| (name.to_owned(), what, expected, limit))
    );
    let cause = report.end("slow").1.expect("a cause");
    assert!(cause.message.contains("waiting for step 1, Execute(Hang)"), "{cause:?}");
    assert_eq!(report.end("never-up").0, Failed);
}

#[tokio::test]
async fn a_scenario_that_takes_too_long_on_a_starving_host_is_broken() {
    let limit = Duration::from_millis(40);
    let report = TestRun::new(2)
        .scenario("slow", &[Script::Hang])
        .timeout(limit)
        .scenario("starved", &[Script::Hang])
        .timeout(limit)
        .boot("starved", Boot::Starved)
        .run()
        .await;
    assert_eq!(report.end("slow").0, Failed);
    let (outcome, cause) = report.end("starved");
    assert_eq!(outcome, Broken);
    let fault = cause.and_then(|cause| cause.fault);
    assert!(matches!(fault, Some(Fault::Starved { seconds: 60, lost: 60, .. })), "{fault:?}");
}

#[tokio::test]
async fn machines_are_kept_by_policy() {
    let test_run = |keep| {
        TestRun::new(1)
            .scenario("dead", &[Script::Die(panic_fault())])
            .scenario("fails", &[Script::Fail])
            .scenario("passes", &[Script::Pass])
            .with(move |run| run.keep = keep)
    };
    let report = test_run(KeepPolicy::OnFailure).run().await;
    assert_eq!(report.kept, ["fails"], "a dead machine is of no use");
    assert_eq!(report.stopped, ["dead", "passes"]);
    let reported = report.events.iter().any(|event| {
        matches!(event, EventKind::MachineKept { scenario, ssh, .. } if scenario.to_string() == "fails" && ssh == "ssh fails")
    });
    assert!(reported, "{:?}", report.events);
    assert_eq!(test_run(KeepPolicy::Always).run().await.kept, ["fails", "passes"]);
    assert!(test_run(KeepPolicy::Never).run().await.kept.is_empty());
}

#[tokio::test]
async fn no_more_machines_are_kept_than_memory_allows() {
    let mut test_run = TestRun::new(1);
    for name in ["a", "b", "c", "d"] {
        test_run = test_run.scenario(name, &[Script::Fail]);
    }
    let test_run = test_run.with(|run| {
        run.keep = KeepPolicy::OnFailure;
        run.budget.memory_mib = 3500;
    });
    let report = test_run.run().await;
    assert_eq!(report.kept, ["a", "b"], "and there is room for one that runs");
    assert_eq!(report.result.counts.failed, 4);
}

#[tokio::test]
async fn a_scenario_that_keeps_nothing_needs_no_memory_for_it() {
    let later = Script::After(Duration::from_millis(50));
    let test_run = TestRun::new(2).scenario("a", &[Script::Pass]).scenario("b", &[later, Script::Fail]);
    let test_run = test_run.slow_to_stop("a").with(|run| {
        run.keep = KeepPolicy::OnFailure;
        // Room for two that run, or for one that is kept.
        run.budget.memory_mib = 2000;
    });
    assert_eq!(test_run.run().await.kept, ["b"]);
}

#[tokio::test]
async fn each_attempt_that_fails_is_kept_under_a_name_of_its_own() {
    let report = TestRun::new(1)
        .scenario("a", &[Script::Pass])
        .at_first(&[Script::Fail, Script::Fail])
        .with(|run| (run.retries, run.keep) = (2, KeepPolicy::OnFailure))
        .run()
        .await;
    assert_eq!(report.end("a").0, Flaky);
    assert_eq!(report.kept, ["a", "a.attempt-2"]);
}

#[tokio::test]
async fn steps_use_the_machine_that_they_name() {
    let actions = [Script::Pass, Script::Pass, Script::Pass];
    let report = TestRun::new(1).scenario("a", &actions).machines(&["server", "client"]).run().await;
    assert_eq!(report.executed, ["a/0", "a/1", "a/0"]);
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
    let actions = [Script::Pass, Script::Die(panic_fault()), Script::Pass];
    let test_run = TestRun::new(1).scenario("a", &actions).machines(&["server", "client"]);
    let report = test_run.with(|run| run.keep = KeepPolicy::OnFailure).run().await;
    let (outcome, cause) = report.end("a");
    let cause = cause.expect("a cause");
    assert_eq!((outcome, cause.machine.as_deref()), (Outcome::Failed, Some("client")));
    assert!(cause.message.starts_with("machine `client`: "), "{}", cause.message);
    assert_eq!(report.kept, ["a.server"], "the one that lives is what there is to look into");
    assert_eq!(report.stopped, ["a/1"]);
}

#[tokio::test]
async fn a_death_is_noticed_while_another_machine_is_used() {
    // The second machine dies during an operation of the first that does not end.
    let actions = [Script::Pass, Script::LostThenDead, Script::Hang];
    let report = TestRun::new(1).scenario("a", &actions).machines(&["server", "client"]).run().await;
    let (outcome, cause) = report.end("a");
    assert_eq!(
        (outcome, cause.and_then(|cause| cause.machine)),
        (Outcome::Failed, Some("client".to_owned()))
    );
}

#[tokio::test]
async fn a_machine_that_does_not_start_takes_the_others_along() {
    let test_run = TestRun::new(1).scenario("a", &[Script::Pass]).machines(&["server", "client"]);
    let report = test_run.boot("a/1", Boot::NotStarted).run().await;
    let (outcome, cause) = report.end("a");
    let cause = cause.expect("a cause");
    assert_eq!((outcome, cause.message.as_str()), (Outcome::Broken, "machine `client`: cannot start QEMU"));
    assert_eq!(report.left, 0);
}
