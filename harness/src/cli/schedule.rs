// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroUsize;

use clap::Args;

use crate::runner::{Budget, Capacity, FlakyPolicy, KeepPolicy, Order, Run, Timings};

/// In which order scenarios run, how often, and what comes of it.
#[derive(Debug, Clone, Args)]
pub(super) struct ScheduleArguments {
    /// Scenarios at a time, at most; memory may allow fewer. As many as the host has processors and
    /// memory for when not given
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Shuffle the scenarios, in the same way for the same number. Otherwise those come first that
    /// took longest when they last passed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Start no further scenario once one did not pass
    #[arg(long)]
    pub fail_fast: bool,
    /// Run each scenario so many times, each time on a fresh machine, and report each apart
    #[arg(long, value_name = "N", default_value = "1")]
    pub repeat: NonZeroUsize,
    /// Try a scenario that did not pass again on a fresh machine, up to so many times. One that
    /// passes only then is flaky, which every report says
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retries: u32,
    /// What a flaky scenario makes of the exit status
    #[arg(long, value_enum, default_value_t = FlakyPolicy::Pass)]
    pub flaky: FlakyPolicy,
    /// Which machines are left running when their scenario ends, even after the run has ended; how to
    /// get into them is printed, and `loadgauge stop` ends them
    #[arg(long, value_enum, default_value_t = KeepPolicy::Never)]
    pub keep: KeepPolicy,
}

impl ScheduleArguments {
    /// Everything once.
    pub(super) fn once() -> Self {
        Self {
            jobs: None,
            seed: None,
            fail_fast: false,
            repeat: NonZeroUsize::MIN,
            retries: 0,
            flaky: FlakyPolicy::default(),
            keep: KeepPolicy::default(),
        }
    }

    /// Changes a run as it is asked for.
    pub(super) fn apply<C>(&self, run: Run<C>, timings: &Timings) -> Run<C> {
        let accelerator = run.header.acceleration.accelerator;
        Run {
            order: Order { expected: timings.expected(), seed: self.seed },
            budget: Budget::of(Capacity::of_host(), accelerator, self.jobs),
            fail_fast: self.fail_fast,
            retries: self.retries,
            flaky: self.flaky,
            keep: self.keep,
            ..run
        }
    }
}
