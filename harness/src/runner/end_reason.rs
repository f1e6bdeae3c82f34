// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_all;

use super::diagnosis::{hint_for, outcome_of};
use super::{Cause, Job, StartFailure, TestMachine};
use crate::check::Outcome;
use crate::machine::Fault;

/// Why a scenario ends before its last step.
pub(super) enum EndReason {
    /// a machine cannot be used any further
    Machine {
        /// 0-based number of the machine
        machine: usize,
        /// why
        failure: StartFailure,
    },
    /// the step with this number was broken, or is a reboot that failed; it was reported
    Step(usize),
    /// the scenario exceeded its limit
    TimedOut { limit: Duration, awaited: String },
    /// the user interrupted the run
    Interrupted,
    /// a defect of the harness
    Panicked(String),
}

/// Waits until one of the machines dies. There is at least one.
pub(super) async fn any_fault<M: TestMachine>(machines: &[Arc<M>]) -> EndReason {
    let faults = machines.iter().enumerate().map(|(number, machine)| {
        async move { EndReason::Machine { machine: number, failure: machine.fault().await.into() } }.boxed()
    });
    select_all(faults).await.0
}

impl EndReason {
    /// The outcome of the scenario, and the cause for reports.
    pub(super) fn outcome<C>(&self, job: &Job<C>) -> (Outcome, Cause) {
        let plain = |message: String| Cause { message, hint: None, fault: None, machine: None };
        match self {
            Self::Machine { machine, failure } => {
                let machine = job.name_of(*machine).map(str::to_owned);
                let (outcome, message, hint, fault) = match failure {
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
            Self::Step(number) => {
                (Outcome::Broken, plain(format!("the scenario cannot continue after step {number}")))
            }
            Self::TimedOut { limit, awaited } => {
                let message =
                    format!("the scenario did not end within {} s, waiting for {awaited}", limit.as_secs());
                (Outcome::Failed, plain(message))
            }
            Self::Interrupted => (Outcome::Skipped, plain("interrupted".to_owned())),
            Self::Panicked(message) => {
                let hint = "report this bug of loadgauge with events.jsonl";
                let message = format!("the harness panicked: {message}");
                (Outcome::Broken, Cause { hint: Some(hint.to_owned()), ..plain(message) })
            }
        }
    }

    /// A short form, for the steps that were not reached.
    pub(super) fn short(&self) -> String {
        match self {
            Self::Machine { failure: StartFailure::Fault(Fault::TimedOut { what, .. }), .. } => {
                format!("{what} took too long")
            }
            Self::Machine { failure: StartFailure::Fault(Fault::Starved { .. }), .. } => {
                "the host had no processor for the guest".to_owned()
            }
            Self::Machine { failure: StartFailure::Fault(Fault::Flood { what, .. }), .. } => {
                format!("the guest flooded its {what}")
            }
            Self::Machine { failure: StartFailure::Fault(_), .. } => "the machine died".to_owned(),
            Self::Machine { failure: StartFailure::Other { .. }, .. } => {
                "the machine could not be used".to_owned()
            }
            Self::Step(number) => format!("the scenario cannot continue after step {number}"),
            Self::TimedOut { .. } => "the scenario took too long".to_owned(),
            Self::Interrupted => "interrupted".to_owned(),
            Self::Panicked(_) => "the harness panicked".to_owned(),
        }
    }
}
