// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use loadgauge_host::quote;

use crate::guest::Command;

use super::super::Assertions;
use super::super::recorder::{CheckError, Recorder};
use super::report::{UnitReport, read_reports, shell_function};

/// For how long a unit must be active without a pause, unless an author sets another time.
pub const SETTLE: Duration = Duration::from_secs(10);

/// The limit for units to become active, without the time that they must stay so.
const LIMIT: Duration = Duration::from_mins(1);
/// The first and the longest pause between looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(2));
/// After this time without any change a unit that is inactive or failed stays so: systemd starts units that
/// others uphold at once.
const UNCHANGED: Duration = Duration::from_secs(6);
/// The number of failed starts, from the first look on, after which a unit is given up.
const LOOP: usize = 5;

/// What a look at a unit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// active for long enough
    Settled,
    /// it may still become active, or stay so
    Open,
    /// it does not become active, or does not stay so
    Lost,
}

/// What is remembered of a unit between looks.
#[derive(Debug, Clone)]
struct Memory {
    /// state, start and number of failures at the last look
    fingerprint: (String, String, usize),
    /// the first look with this fingerprint
    since: Instant,
    /// the number of failures at the first look: those of an earlier image of the extension
    earlier_failures: usize,
}

/// What is known of a unit from several looks.
#[derive(Debug, Clone, Copy)]
struct History {
    /// how long state, start and number of failures have been the same
    unchanged: Duration,
    /// the number of failed starts since the first look
    failures: usize,
}

/// Waits until the units are active for `settle` without a pause, in one start, or until one of them cannot
/// become so. Units of which `may_end` holds the name may also have ended well.
///
/// # Errors
/// The guest cannot be asked.
pub(in super::super) async fn settled(
    recorder: &mut Recorder<'_>,
    units: &BTreeSet<String>,
    may_end: &BTreeSet<String>,
    settle: Duration,
) -> Result<Assertions, CheckError> {
    let names = units.iter().map(|unit| quote(unit)).collect::<Vec<_>>().join(" ");
    let script = format!("{}\nunit_report {names}", shell_function());
    let deadline = Instant::now() + LIMIT + settle;
    let mut memories: Vec<Option<Memory>> = vec![None; units.len()];
    let mut pause = PAUSES.0;
    loop {
        let output = recorder.require(Command::as_root(&script)).await?;
        let reports = read_reports(&output.text()).map_err(CheckError::Unreadable)?;
        if reports.len() != units.len() {
            let cause = format!("there are reports of {} units instead of {}", reports.len(), units.len());
            return Err(CheckError::Unreadable(cause));
        }
        let now = Instant::now();
        let looked = reports.iter().zip(&mut memories);
        let states: Vec<State> = looked
            .map(|(report, memory)| {
                let history = remember(report, memory, now);
                state(report, history, settle, may_end.contains(&report.name))
            })
            .collect();
        let is_over = now >= deadline || states.contains(&State::Lost);
        if is_over || states.iter().all(|state| *state == State::Settled) {
            return Ok(assertions(&reports, &states, settle));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Compares a unit with the last look at it.
fn remember(report: &UnitReport, memory: &mut Option<Memory>, now: Instant) -> History {
    let failures = report.failures();
    let fingerprint =
        (report.property("ActiveState").to_owned(), report.property("InvocationID").to_owned(), failures);
    let memory = memory.get_or_insert_with(|| Memory {
        fingerprint: fingerprint.clone(),
        since: now,
        earlier_failures: failures,
    });
    if memory.fingerprint != fingerprint {
        (memory.fingerprint, memory.since) = (fingerprint, now);
    }
    History {
        unchanged: now.duration_since(memory.since),
        failures: failures.saturating_sub(memory.earlier_failures),
    }
}

fn state(report: &UnitReport, history: History, settle: Duration, may_end: bool) -> State {
    // A job that waits for another unit, or a restart that has not begun: the state is not that of the new
    // image.
    if !matches!(report.property("Job"), "" | "0") {
        return State::Open;
    }
    if let Some(active) = report.active_for() {
        return if active >= settle { State::Settled } else { State::Open };
    }
    let (active, result) = (report.property("ActiveState"), report.property("Result"));
    let has_ended_well = active == "inactive" && result == "success" && report.starts() > 0;
    if has_ended_well && may_end && history.failures == 0 {
        return State::Settled;
    }
    let cannot_start = !matches!(report.property("LoadState"), "loaded" | "") || result == "start-limit-hit";
    let is_at_rest = matches!(active, "inactive" | "failed") && history.unchanged >= UNCHANGED;
    if cannot_start || is_at_rest || history.failures >= LOOP { State::Lost } else { State::Open }
}

fn assertions(reports: &[UnitReport], states: &[State], settle: Duration) -> Assertions {
    let mut assertions = Assertions::default();
    for (report, state) in reports.iter().zip(states) {
        let claim = format!("`{}`, which the extension starts, is active for {settle:?}", report.name);
        // After the loss of one unit the others are not waited for.
        let is_fine = *state == State::Settled
            || *state == State::Open && report.is_active() && states.contains(&State::Lost);
        if is_fine {
            assertions.pass(claim);
        } else {
            assertions.fail(claim, report.explanation().join("\n"));
            assertions.suggest(report.hint());
        }
    }
    assertions
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    const SOON: History = History { unchanged: Duration::from_secs(1), failures: 0 };
    const LATER: History = History { unchanged: Duration::from_secs(7), failures: 0 };

    #[test]
    fn a_unit_settles_once_it_stays_active() {
        // The guest has been up for 100.5 s.
        let young =
            report("LoadState=loaded\nActiveState=active\nActiveEnterTimestampMonotonic=98500000", "");
        assert_eq!(state(&young, LATER, SETTLE, false), State::Open, "it may still fail");
        assert_eq!(state(&young, SOON, Duration::from_secs(2), false), State::Settled);
        let old = report("LoadState=loaded\nActiveState=active\nActiveEnterTimestampMonotonic=9000000", "");
        assert_eq!(state(&old, SOON, SETTLE, false), State::Settled);
    }

    #[test]
    fn a_unit_is_lost_once_it_cannot_settle() {
        for (properties, journal, unchanged, expected) in [
            ("LoadState=not-found\nActiveState=inactive", "", SOON, State::Lost),
            ("LoadState=loaded\nActiveState=failed\nResult=exit-code", "", SOON, State::Open),
            ("LoadState=loaded\nActiveState=failed\nResult=exit-code", "", LATER, State::Lost),
            ("LoadState=loaded\nActiveState=failed\nResult=start-limit-hit", "", SOON, State::Lost),
            ("LoadState=loaded\nActiveState=activating\nResult=success", "", LATER, State::Open),
            (
                "LoadState=loaded\nActiveState=activating\nResult=exit-code",
                "",
                History { failures: 5, ..SOON },
                State::Lost,
            ),
            ("LoadState=loaded\nActiveState=inactive\nResult=success", "", LATER, State::Lost),
        ] {
            assert_eq!(
                state(&report(properties, journal), unchanged, SETTLE, false),
                expected,
                "{properties}"
            );
        }
    }

    #[test]
    fn a_unit_that_may_end_settles_by_ending_well() {
        let started = r#"{"MESSAGE":"m","INVOCATION_ID":"1f","UNIT":"x.service"}"#;
        let ended = report("LoadState=loaded\nActiveState=inactive\nResult=success", started);
        assert_eq!(state(&ended, SOON, SETTLE, true), State::Settled);
        assert_eq!(state(&ended, LATER, SETTLE, false), State::Lost, "what is upheld must stay active");
    }

    #[test]
    fn a_unit_with_a_job_is_waited_for() {
        let restarting =
            report("LoadState=loaded\nActiveState=active\nActiveEnterTimestampMonotonic=9000000\nJob=77", "");
        assert_eq!(state(&restarting, LATER, SETTLE, false), State::Open, "the old process still runs");
        let waiting = report("LoadState=loaded\nActiveState=inactive\nResult=success\nJob=78", "");
        assert_eq!(state(&waiting, LATER, SETTLE, false), State::Open, "it waits for another unit");
    }

    #[test]
    fn the_same_state_is_timed_from_its_first_sight_and_old_failures_do_not_count() {
        let failure = r#"{"MESSAGE":"m","MESSAGE_ID":"d9b373ed55a64feb8242e02dbe79a49c","UNIT":"x.service"}"#;
        let (start, later) = (Instant::now(), Duration::from_secs(7));
        let one = report("ActiveState=failed\nInvocationID=1", "");
        let two = report("ActiveState=failed\nInvocationID=2", failure);
        let mut memory = None;
        assert_eq!(remember(&one, &mut memory, start).unchanged, Duration::ZERO);
        assert_eq!(remember(&one, &mut memory, start + later).unchanged, later);
        let history = remember(&two, &mut memory, start + later);
        assert_eq!((history.unchanged, history.failures), (Duration::ZERO, 1), "another start");
        let mut memory = None;
        assert_eq!(remember(&two, &mut memory, start).failures, 0, "of an earlier image");
    }

    #[test]
    fn only_units_that_are_lost_or_late_are_reported() {
        let active =
            report("LoadState=loaded\nActiveState=active\nActiveEnterTimestampMonotonic=98500000", "");
        let lost = report("LoadState=not-found\nActiveState=inactive", "");
        let found = assertions(&[active.clone(), lost], &[State::Open, State::Lost], SETTLE);
        assert_eq!(found.found(), "`x.service` is inactive (not-found)");
        assert!(!assertions(&[active], &[State::Open], SETTLE).all_hold(), "the time is up");
    }
}
