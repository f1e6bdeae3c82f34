// SPDX-License-Identifier: Apache-2.0
//! What is looked at while the guest is asked something, and after it could not be asked.
//!
//! A guest whose network is gone refuses nothing: it says nothing, and a command that it was given may
//! take as long as its author allows. So a guest that is slow to answer is looked at now and then.
use loadgauge_host::Hint as _;
use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

use super::StartFailure;
use crate::guest::GuestError;
use crate::machine::Machine;
use loadgauge_host::error::on_one_line;

/// How long an answer may take before the guest is looked at, and how long until it is again.
const QUIET: Duration = Duration::from_secs(10);
/// How long sshd may take to greet, under KVM.
const GREETING: Duration = Duration::from_secs(5);
/// By how much longer under TCG at most: it is a short piece of work, even for a guest that is busy.
const MOST: f64 = 6.0;

/// How long sshd may take to greet.
fn patience(factor: f64) -> Duration {
    GREETING.mul_f64(factor.clamp(1.0, MOST))
}

/// Awaits an answer of the guest. Where none comes and its sshd has gone or cannot be reached, the
/// machine has a [`Fault`](crate::machine::Fault) that says so, and whoever listens for that need not
/// wait for the answer.
pub(super) async fn with_liveness_checks<T>(
    machine: &Machine,
    factor: f64,
    context: &str,
    asked: impl Future<Output = T>,
) -> T {
    let mut asked = pin!(asked);
    loop {
        tokio::select! {
            biased;
            answer = &mut asked => return answer,
            () = sleep(QUIET) => {}
        }
        let speaks = tokio::select! {
            biased;
            answer = &mut asked => return answer,
            speaks = machine.look_for_ssh(context, patience(factor)) => speaks,
        };
        if !speaks {
            return asked.await;
        }
    }
}

/// Has the machine tell what became of a guest whose connection broke off under a command.
pub(super) async fn broke_off(machine: &Machine, factor: f64, reason: &str) {
    let context = format!("{reason}; a new connection was tried");
    if machine.look_for_ssh(&context, patience(factor)).await {
        machine.report_ssh(format!("{reason}, though the guest answers new connections")).await;
    }
}

/// Why a scenario cannot go on whose guest could not be asked: what became of the machine, or what is
/// wrong with its SSH.
pub(super) async fn trouble_of(machine: &Machine, error: &GuestError) -> StartFailure {
    match error {
        GuestError::Key { .. } | GuestError::TooMuch { .. } => {
            StartFailure::Other { message: on_one_line(error), hint: error.hint() }
        }
        _ => {
            machine.report_ssh(on_one_line(error)).await;
            StartFailure::Fault(machine.fault().await)
        }
    }
}
