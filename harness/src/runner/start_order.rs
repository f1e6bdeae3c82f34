// SPDX-License-Identifier: Apache-2.0
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::ScenarioId;

/// The order in which scenarios start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartOrder {
    /// expected durations by name of the scenario. The slowest start first, since a slow scenario that
    /// starts last delays the end of the run. Scenarios without a known duration start before all
    /// others; equal ones in the order of their ids.
    pub expected: BTreeMap<String, Duration>,
    /// seed of a shuffled order, which is used instead; the same seed gives the same order
    pub seed: Option<u64>,
}

impl StartOrder {
    /// Sorts jobs, or anything else that has an id.
    pub(super) fn sort<T>(&self, jobs: &mut [T], id: impl Fn(&T) -> &ScenarioId) {
        match self.seed {
            Some(seed) => jobs.sort_by_cached_key(|job| shuffled(seed, id(job))),
            None => jobs.sort_by(|one, other| {
                let expected =
                    |job| Reverse(self.expected.get(&id(job).name).copied().unwrap_or(Duration::MAX));
                expected(one).cmp(&expected(other)).then_with(|| id(one).cmp(id(other)))
            }),
        }
    }
}

/// The sort key of a shuffled order. It depends on the seed and the id alone, so that it is the same on
/// every host and for every selection of scenarios.
fn shuffled(seed: u64, id: &ScenarioId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(id.to_string());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(order: &StartOrder, ids: &[&str]) -> Vec<String> {
        let mut ids: Vec<ScenarioId> = ids.iter().map(|&id| id.into()).collect();
        order.sort(&mut ids, |id| id);
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_slowest_comes_first_and_the_unknown_before_it() {
        let expected = [("short", 1), ("long", 60), ("also-long", 60)];
        let expected = expected.map(|(name, seconds)| (name.to_owned(), Duration::from_secs(seconds))).into();
        let order = StartOrder { expected, seed: None };
        let ids = ["short", "long@cold", "new", "also-long@2", "long", "another"];
        let expected = ["another", "new", "also-long@2", "long", "long@cold", "short"];
        assert_eq!(sorted(&order, &ids), expected);
    }

    #[test]
    fn repetitions_are_in_the_order_of_their_numbers() {
        let ids = ["a@10", "a@2", "b@1", "a@1"];
        assert_eq!(sorted(&StartOrder::default(), &ids), ["a@1", "a@2", "a@10", "b@1"]);
    }

    #[test]
    fn a_seed_always_shuffles_in_the_same_way() {
        let ids: Vec<String> = (0..20).map(|number| format!("scenario-{number}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let with =
            |seed, ids: &[&str]| sorted(&StartOrder { seed: Some(seed), ..StartOrder::default() }, ids);
        let mut reversed = ids.clone();
        reversed.reverse();
        assert_eq!(with(7, &ids), with(7, &reversed));
        assert_ne!(with(7, &ids), with(8, &ids));
        let mut all = with(7, &ids);
        all.sort();
        let mut expected: Vec<String> = ids.iter().map(|&id| id.to_owned()).collect();
        expected.sort();
        assert_eq!(all, expected);
    }
}
