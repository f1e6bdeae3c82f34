// SPDX-License-Identifier: Apache-2.0
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::mutator::Mutator;
use crate::targets::Target;

/// The limits of a run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// the seed of all inputs
    pub seed: u64,
    /// the maximum number of inputs per target
    pub inputs: u64,
    /// the maximum time per target
    pub time: Duration,
}

/// An input that made a target fail.
#[derive(Debug)]
pub struct Failure {
    /// the input
    pub input: Vec<u8>,
    /// the message of the panic, or the elapsed time
    pub reason: String,
}

/// The maximum time for one input, far above what any target needs.
const TIME_LIMIT: Duration = Duration::from_secs(20);

impl Run {
    /// Feeds a target its sound inputs and then changed ones, and returns the number of changed ones.
    ///
    /// # Errors
    /// The first input that made the target panic or took too long.
    pub fn feed(&self, target: &Target) -> Result<u64, Failure> {
        let seeds = (target.seeds)();
        let (mut mutator, start) = (Mutator::new(self.seed), Instant::now());
        for input in &seeds {
            feed_one(target, input)?;
        }
        let mut fed = 0;
        while fed < self.inputs && start.elapsed() < self.time {
            feed_one(target, &mutator.input(&seeds))?;
            fed += 1;
        }
        Ok(fed)
    }

    /// Feeds one input to a target.
    ///
    /// # Errors
    /// The target panicked or took too long.
    pub fn feed_one(&self, target: &Target, input: &[u8]) -> Result<(), Failure> {
        feed_one(target, input)
    }
}

fn feed_one(target: &Target, input: &[u8]) -> Result<(), Failure> {
    let start = Instant::now();
    let fail = |reason| Failure { input: input.to_vec(), reason };
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        fail(text.unwrap_or_else(|| "a panic without a message".to_owned()))
    })?;
    if start.elapsed() > TIME_LIMIT {
        return Err(fail(format!("it took {:.1} s", start.elapsed().as_secs_f32())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets;

    fn fragile(bytes: &[u8]) {
        assert!(!bytes.contains(&b'!'), "there is an exclamation mark");
    }

    fn run(inputs: u64) -> Run {
        Run { seed: 1, inputs, time: Duration::from_mins(1) }
    }

    #[test]
    fn an_input_that_fails_is_found_and_fails_again() {
        let target = Target {
            name: "fragile",
            run: fragile,
            seeds: || vec![b"sound".to_vec()],
            is_slow: false,
            reached: None,
        };
        let failure = run(10_000).feed(&target).expect_err("found");
        assert!(failure.input.contains(&b'!') && failure.reason == "there is an exclamation mark");
        assert!(feed_one(&target, &failure.input).is_err());
        let calm = Target { run: |_| {}, ..target };
        assert_eq!(run(100).feed(&calm).map_err(|failure| failure.reason), Ok(100));
    }

    /// `make fuzz` runs longer.
    #[test]
    fn every_target_passes_with_a_thousand_inputs() {
        for target in targets::ALL {
            let inputs = if target.is_slow { 20 } else { 1000 };
            if let Err(failure) = run(inputs).feed(target) {
                panic!("{}: {}: {}", target.name, failure.reason, hex::encode(failure.input));
            }
            // The seeds alone get there.
            assert!(target.reached.is_none_or(|reached| reached() > 2), "{} reaches nothing", target.name);
        }
    }
}
