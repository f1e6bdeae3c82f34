// SPDX-License-Identifier: Apache-2.0
//! Holds warm starts against cold ones.
use camino::Utf8Path;

use super::{Exit, Failure, output};
use crate::check::Outcome;
use crate::machine::{Decision, Start};
use crate::report::{RunRecord, ScenarioRecord, json_lines};
use crate::scenario::Plan;

/// Behind the name of the scenario that runs cold.
const COLD: &str = "@cold";

/// Puts beside each scenario that starts warm the same one that starts cold.
///
/// # Errors
/// None starts warm: there is nothing to compare.
pub(super) fn doubled(
    mut plan: Plan,
    mut decisions: Vec<Vec<Decision>>,
) -> Result<(Plan, Vec<Vec<Decision>>), Failure> {
    let mut compared = Vec::new();
    let mut cold_decisions = Vec::new();
    for (planned, decisions) in plan.scenarios.iter().zip(&decisions) {
        let name = &planned.scenario.name;
        if decisions.iter().any(|decision| decision.start == Start::Warm) {
            let mut cold = planned.clone();
            cold.scenario.name.push_str(COLD);
            for machine in &mut cold.machines {
                machine.plan.name = machine.plan.name.replacen(name.as_str(), &cold.scenario.name, 1);
            }
            compared.push(cold);
            let decision = Decision::cold("to hold the warm start against it");
            cold_decisions.push(vec![decision; decisions.len()]);
        } else {
            let reason = decisions.first().map_or("", |decision| decision.reason.as_str());
            output::tell(&format!("{name}: not compared, it starts cold: {reason}"));
        }
    }
    if compared.is_empty() {
        let message = "no scenario starts warm, so there is nothing to compare";
        return Err(Failure::words(Exit::Usage, message, Some("ask for it: --start warm")));
    }
    decisions.extend(cold_decisions);
    plan.scenarios.extend(compared);
    Ok((plan, decisions))
}

/// Compares what came of the scenarios that ran both ways; a difference makes a failure of a run that
/// passed.
///
/// # Errors
/// The run's events cannot be read.
pub(super) fn judge(exit: Exit, events: &Utf8Path) -> Result<Exit, Failure> {
    let mut record = RunRecord::default();
    for event in json_lines::read(events)? {
        record.take(&event);
    }
    let differences = differences(&record);
    for difference in &differences {
        output::tell(&format!("warm and cold differ: {difference}"));
    }
    let differ = !differences.is_empty();
    if !differ {
        output::tell("warm and cold starts came to the same");
    }
    Ok(if differ && exit == Exit::Passed { Exit::Failed } else { exit })
}

/// Where a scenario came to something else when its machine started warm.
fn differences(record: &RunRecord) -> Vec<String> {
    let pairs = record.scenarios.iter().filter_map(|cold| {
        let warm = record.scenario(cold.scenario.strip_suffix(COLD)?)?;
        Some((warm, cold))
    });
    pairs.flat_map(|(warm, cold)| compare(warm, cold)).collect()
}

fn compare(warm: &ScenarioRecord, cold: &ScenarioRecord) -> Vec<String> {
    let name = &warm.scenario;
    let said = |outcome: Option<Outcome>| outcome.map_or("nothing".to_owned(), |outcome| outcome.to_string());
    let mut found = Vec::new();
    if warm.outcome != cold.outcome {
        found.push(format!("{name}: {} warm, {} cold", said(warm.outcome), said(cold.outcome)));
    }
    let steps = warm.steps.len().max(cold.steps.len());
    for index in 0..steps {
        let (one, other) = (warm.steps.get(index), cold.steps.get(index));
        let (warm, cold) = (one.map(|step| step.outcome), other.map(|step| step.outcome));
        if warm != cold {
            let summary = one.or(other).map_or("", |step| step.summary.as_str());
            found.push(format!(
                "{name}, step {}, {summary}: {} warm, {} cold",
                index + 1,
                said(warm),
                said(cold)
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::StepRecord;

    fn record(name: &str, outcome: Outcome, steps: &[Outcome]) -> ScenarioRecord {
        let step = |(index, &outcome): (usize, &Outcome)| StepRecord {
            step: index + 1,
            machine: None,
            summary: format!("claim {}", index + 1),
            outcome,
            finding: None,
            attempts: 1,
            duration_ms: 0,
        };
        ScenarioRecord {
            scenario: name.to_owned(),
            outcome: Some(outcome),
            steps: steps.iter().enumerate().map(step).collect(),
            ..ScenarioRecord::default()
        }
    }

    #[test]
    fn what_differs_is_told_by_step_and_what_ran_once_is_not_compared() {
        let (passed, failed) = (Outcome::Passed, Outcome::Failed);
        let scenarios = vec![
            record("same", passed, &[passed]),
            record("same@cold", passed, &[passed]),
            record("other", passed, &[passed, passed]),
            record("other@cold", failed, &[passed, failed]),
            record("short", passed, &[passed]),
            record("short@cold", passed, &[passed, Outcome::Skipped]),
            record("once", failed, &[failed]),
        ];
        let found = differences(&RunRecord { scenarios, ..RunRecord::default() });
        assert_eq!(
            found,
            [
                "other: passed warm, failed cold",
                "other, step 2, claim 2: passed warm, failed cold",
                "short, step 2, claim 2: nothing warm, skipped cold",
            ]
        );
    }
}
