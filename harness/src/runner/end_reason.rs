// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_all;

use super::{Cause, Job, StartFailure, TestMachine, hint_for, outcome_of};
use crate::check::Outcome;
use crate::machine::Fault;

/// What ends a scenario before its last step.
pub(super) enum EndReason {
    /// a machine died, or the host is in the way
    StartFailure {
        /// which of the scenario's machines it is about, counted from 0
        machine: usize,
        trouble: StartFailure,
    },
    /// a step whose failure leaves nothing to go on from; it was reported
    Step(usize),
    /// the scenario took longer than its author allows
    Overran { limit: Duration, awaited: String },
    /// the user broke the run off
    Interrupted,
    /// a defect of the harness
    Panicked(String),
}

/// Waits until one of a scenario's machines, of which there is at least one, cannot go on.
pub(super) async fn any_fault<S: TestMachine>(subjects: &[Arc<S>]) -> EndReason {
    let faults = subjects.iter().enumerate().map(|(machine, subject)| {
        async move { EndReason::StartFailure { machine, trouble: subject.fault().await.into() } }.boxed()
    });
    select_all(faults).await.0
}

impl EndReason {
    /// The outcome of a scenario that ends so, and what is said about it.
    pub(super) fn judge<C>(&self, job: &Job<C>) -> (Outcome, Cause) {
        let plain = |message: String| Cause { message, hint: None, fault: None, machine: None };
        match self {
            Self::StartFailure { machine, trouble } => {
                let machine = job.name_of(*machine).map(str::to_owned);
                let (outcome, message, hint, fault) = match trouble {
                    StartFailure::Fault(fault) => {
                        (outcome_of(fault), fault.to_string(), hint_for(fault), Some(fault.clone()))
                    }
                    StartFailure::Other { message, hint } => {
                        (Outcome::Broken, message.clone(), hint.clone(), None)
                    }
                };
                let message = match &machine {
                    Some(name) => format!("machine `{name}`: {message}"),
                    None => message,
                };
                (outcome, Cause { message, hint, fault, machine })
            }
            Self::Step(number) => (Outcome::Broken, plain(format!("nothing can follow step {number}"))),
            Self::Overran { limit, awaited } => {
                let message =
                    format!("the scenario did not end within {} s, waiting for {awaited}", limit.as_secs());
                (Outcome::Failed, plain(message))
            }
            Self::Interrupted => (Outcome::Skipped, plain("interrupted".to_owned())),
            Self::Panicked(message) => {
                let hint = "this is a defect of loadgauge: please report it with events.jsonl";
                let message = format!("the harness panicked: {message}");
                (Outcome::Broken, Cause { hint: Some(hint.to_owned()), ..plain(message) })
            }
        }
    }

    /// Why the steps behind were not reached.
    pub(super) fn in_short(&self) -> String {
        match self {
            Self::StartFailure { trouble: StartFailure::Fault(Fault::TimedOut { what, .. }), .. } => {
                format!("{what} did not come in time")
            }
            Self::StartFailure { trouble: StartFailure::Fault(_), .. } => "the machine died".to_owned(),
            Self::StartFailure { trouble: StartFailure::Other { .. }, .. } => {
                "the scenario could not go on".to_owned()
            }
            Self::Step(number) => format!("nothing can follow step {number}"),
            Self::Overran { .. } => "the scenario took too long".to_owned(),
            Self::Interrupted => "interrupted".to_owned(),
            Self::Panicked(_) => "the harness panicked".to_owned(),
        }
    }
}
