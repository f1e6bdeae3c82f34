// SPDX-License-Identifier: Apache-2.0
//! Checks of sshd while the guest runs a command, and after the connection was lost.
//!
//! A guest without a network does not refuse connections: it is silent, and a command may take as long
//! as its author allows. Therefore a guest that does not answer is checked at intervals.
use std::pin::pin;
use std::time::Duration;

use loadgauge_host::error::on_one_line;
use tokio::time::sleep;

use super::StartFailure;
use crate::guest::GuestError;
use crate::machine::Machine;

/// The interval of the checks.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long sshd may take to send its greeting, under KVM.
const GREETING: Duration = Duration::from_secs(5);
/// The largest factor for TCG. A greeting is little work, also for a busy guest.
const MAX_FACTOR: f64 = 6.0;

/// How long sshd may take to send its greeting.
fn greeting_limit(factor: f64) -> Duration {
    GREETING.mul_f64(factor.clamp(1.0, MAX_FACTOR))
}

/// Awaits an operation of the guest. If sshd does not answer meanwhile, the machine gets a
/// [`Fault`](crate::machine::Fault), so that the caller can stop waiting for the operation.
pub(super) async fn with_liveness_checks<T>(
    machine: &Machine,
    factor: f64,
    context: &str,
    operation: impl Future<Output = T>,
) -> T {
    let mut operation = pin!(operation);
    loop {
        tokio::select! {
            biased;
            result = &mut operation => return result,
            () = sleep(INTERVAL) => {}
        }
        let alive = tokio::select! {
            biased;
            result = &mut operation => return result,
            alive = machine.look_for_ssh(context, greeting_limit(factor)) => alive,
        };
        if !alive {
            return operation.await;
        }
    }
}

/// Gives the machine a fault that explains why the connection was lost during a command.
pub(super) async fn check_lost_connection(machine: &Machine, factor: f64, reason: &str) {
    let context = format!("{reason}; a new connection was tried");
    if machine.look_for_ssh(&context, greeting_limit(factor)).await {
        machine.report_ssh(format!("{reason}, though the guest answers new connections")).await;
    }
}

/// The failure that an error of the connection leads to: the fault of the machine, or a failure of the
/// harness.
pub(super) async fn failure_of(machine: &Machine, error: &GuestError) -> StartFailure {
    match error {
        GuestError::Key { .. } => StartFailure::of(error),
        GuestError::TimedOut { .. } => {
            machine.report_ssh_timeout(on_one_line(error)).await;
            StartFailure::Fault(machine.fault().await)
        }
        _ => {
            machine.report_ssh(on_one_line(error)).await;
            StartFailure::Fault(machine.fault().await)
        }
    }
}
