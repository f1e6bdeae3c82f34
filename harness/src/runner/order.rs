// SPDX-License-Identifier: Apache-2.0
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// In which order scenarios are started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// how long each is expected to take; longest first, since a long one that is started last
    /// keeps the run waiting while the other machines are done. One that was never timed comes
    /// before all others, as it may be the longest; equal ones in the order of their names.
    pub expected: BTreeMap<String, Duration>,
    /// shuffles them instead, in the same way for the same number
    pub seed: Option<u64>,
}

impl Order {
    /// Sorts names, and whatever has one. `scenario` is what it is timed as.
    pub(super) fn sort<T>(&self, jobs: &mut [T], name: impl Fn(&T) -> &str, scenario: impl Fn(&T) -> &str) {
        match self.seed {
            Some(seed) => jobs.sort_by_cached_key(|job| shuffled(seed, name(job))),
            None => jobs.sort_by(|one, other| {
                let expected =
                    |job| Reverse(self.expected.get(scenario(job)).copied().unwrap_or(Duration::MAX));
                let by_time = expected(one).cmp(&expected(other));
                by_time.then_with(|| natural(name(one)).cmp(&natural(name(other))))
            }),
        }
    }
}

/// A place in a shuffled order that depends on the number and the name alone, so that it is the same
/// on every host and does not change with what else is selected.
fn shuffled(seed: u64, name: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(name);
    hash.finalize().into()
}

/// A name, with the number of a repetition apart: the tenth stands behind the ninth.
fn natural(name: &str) -> (&str, u32) {
    let parts = name.rsplit_once('@').and_then(|(name, number)| Some((name, number.parse().ok()?)));
    parts.unwrap_or((name, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted<'a>(order: &Order, names: &[&'a str]) -> Vec<&'a str> {
        let mut names = names.to_vec();
        order.sort(&mut names, |name| name, |name| name.split('@').next().unwrap_or(name));
        names
    }

    #[test]
    fn the_longest_comes_first_and_the_unknown_before_it() {
        let expected = [("short", 1), ("long", 60), ("also-long", 60)];
        let expected = expected.map(|(name, seconds)| (name.to_owned(), Duration::from_secs(seconds))).into();
        let order = Order { expected, seed: None };
        let names = ["short", "long", "new", "also-long", "another"];
        assert_eq!(sorted(&order, &names), ["another", "new", "also-long", "long", "short"]);
    }

    #[test]
    fn repetitions_are_in_the_order_of_their_numbers() {
        let names = ["a@10", "a@2", "b@1", "a@1"];
        assert_eq!(sorted(&Order::default(), &names), ["a@1", "a@2", "a@10", "b@1"]);
    }

    #[test]
    fn a_seed_shuffles_always_in_the_same_way() {
        let names: Vec<String> = (0..20).map(|number| format!("scenario-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let with = |seed, names: &[&str]| -> Vec<String> {
            let order = Order { seed: Some(seed), ..Order::default() };
            sorted(&order, names).into_iter().map(str::to_owned).collect()
        };
        let mut reversed = names.clone();
        reversed.reverse();
        assert_eq!(with(7, &names), with(7, &reversed));
        assert_ne!(with(7, &names), with(8, &names));
        let mut all = with(7, &names);
        all.sort();
        let mut expected: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        expected.sort();
        assert_eq!(all, expected);
    }
}
