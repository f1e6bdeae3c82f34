// SPDX-License-Identifier: Apache-2.0
//! Compares the outcomes of scenarios that started warm with those of a cold start.
use camino::Utf8Path;

use super::{Exit, Failure, output};
use crate::check::Outcome;
use crate::report::{RunRecord, ScenarioRecord, json_lines};
use crate::scenario::{Plan, PlannedScenario, Variant};

/// Adds the cold variant of each scenario that starts warm.
///
/// # Errors
/// No scenario starts warm.
pub(super) fn with_cold_variants(mut plan: Plan) -> Result<Plan, Failure> {
    let (warm, cold): (Vec<_>, Vec<_>) =
        plan.scenarios.iter().partition(|planned: &&PlannedScenario| planned.starts_warm());
    for planned in cold {
        let reason = planned.machines.first().map(|machine| machine.start.reason()).unwrap_or_default();
        output::message(&format!("{}: not compared, since it starts cold: {reason}", planned.id));
    }
    let variants: Vec<PlannedScenario> =
        warm.into_iter().map(|planned| planned.cold_variant("for comparison with the warm start")).collect();
    if variants.is_empty() {
        let message = "no scenario starts warm, so there is nothing to compare";
        return Err(Failure::new(Exit::Usage, message).with_hint("add `--start warm`"));
    }
    plan.scenarios.extend(variants);
    Ok(plan)
}

/// Compares the outcomes of the scenarios that ran both ways. A difference makes a run that passed fail.
///
/// # Errors
/// The run's events cannot be read.
pub(super) fn judge(exit: Exit, events: &Utf8Path) -> Result<Exit, Failure> {
    let differences = differences(&RunRecord::of(&json_lines::read(events)?));
    for difference in &differences {
        output::message(&format!("warm and cold starts differ: {difference}"));
    }
    if differences.is_empty() {
        output::message("warm and cold starts have the same outcomes");
        return Ok(exit);
    }
    Ok(if exit == Exit::Passed { Exit::Failed } else { exit })
}

/// The scenarios and steps with another outcome after a warm start than after a cold one.
fn differences(record: &RunRecord) -> Vec<String> {
    let cold = record.scenarios.iter().filter(|record| record.scenario.variant == Variant::Cold);
    let pairs = cold.filter_map(|cold| {
        let warm = record.scenario(&cold.scenario.with_variant(Variant::Planned))?;
        Some((warm, cold))
    });
    pairs.flat_map(|(warm, cold)| compare(warm, cold)).collect()
}

fn compare(warm: &ScenarioRecord, cold: &ScenarioRecord) -> Vec<String> {
    let name = &warm.scenario;
    let text = |outcome: Option<Outcome>| outcome.map_or("absent".to_owned(), |outcome| outcome.to_string());
    let mut differences = Vec::new();
    if warm.outcome != cold.outcome {
        differences.push(format!("{name}: {} warm, {} cold", text(warm.outcome), text(cold.outcome)));
    }
    let steps = warm.steps.len().max(cold.steps.len());
    for index in 0..steps {
        let (one, other) = (warm.steps.get(index), cold.steps.get(index));
        let (warm, cold) = (one.map(|step| step.outcome), other.map(|step| step.outcome));
        if warm != cold {
            let summary = one.or(other).map_or("", |step| step.summary.as_str());
            differences.push(format!(
                "{name}, step {}, {summary}: {} warm, {} cold",
                index + 1,
                text(warm),
                text(cold)
            ));
        }
    }
    differences
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
            scenario: name.into(),
            outcome: Some(outcome),
            steps: steps.iter().enumerate().map(step).collect(),
            ..ScenarioRecord::default()
        }
    }

    #[test]
    fn differences_name_the_step_and_single_scenarios_are_not_compared() {
        let (passed, failed) = (Outcome::Passed, Outcome::Failed);
        let scenarios = vec![
            record("same", passed, &[passed]),
            record("same@cold", passed, &[passed]),
            record("other", passed, &[passed, passed]),
            record("other@cold", failed, &[passed, failed]),
            record("twice@2", passed, &[passed]),
            record("twice@cold@2", failed, &[passed]),
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
                "twice@2: passed warm, failed cold",
                "short, step 2, claim 2: absent warm, skipped cold",
            ]
        );
    }
}
