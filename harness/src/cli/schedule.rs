// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroUsize;

use clap::Args;

use crate::runner::{Budget, Capacity, FlakyPolicy, KeepPolicy, Run, StartOrder, Timings};

/// The options for the order of scenarios, their repetitions and their machines.
#[derive(Debug, Clone, Args)]
pub(super) struct ScheduleArguments {
    /// Maximum number of scenarios to run at a time; memory may allow fewer [default: as many as the
    /// processors and the memory of the host allow]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Shuffle the scenarios; the same number gives the same order [default: the slowest scenarios of
    /// earlier runs first]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Start no further scenario after one that did not pass
    #[arg(long)]
    fail_fast: bool,
    /// Run each scenario N times, each time on a new machine and with its own result
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) repeat: NonZeroUsize,
    /// Try a scenario that did not pass up to N times more, on a new machine; if it passes then, it is
    /// flaky
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: u32,
    /// How a flaky scenario affects the exit status
    #[arg(long, value_enum, default_value_t = FlakyPolicy::Pass)]
    flaky: FlakyPolicy,
    /// Which machines to leave running after the run; `loadgauge stop` stops them
    #[arg(long, value_enum, default_value_t = KeepPolicy::Never)]
    pub(super) keep: KeepPolicy,
}

impl ScheduleArguments {
    /// The options of a command that runs every scenario once.
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

    /// Sets the options of a run.
    pub(super) fn apply<C>(&self, run: Run<C>, timings: &Timings) -> Run<C> {
        let accelerator = run.header.acceleration.accelerator;
        Run {
            order: StartOrder { expected: timings.expected(), seed: self.seed },
            budget: Budget::of(Capacity::of_host(), accelerator, self.jobs),
            fail_fast: self.fail_fast,
            retries: self.retries,
            flaky: self.flaky,
            keep: self.keep,
            ..run
        }
    }
}
