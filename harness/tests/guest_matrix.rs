// SPDX-License-Identifier: Apache-2.0
//! The fault matrix: every fault of a machine is reported with its cause within seconds, and does not affect
//! another machine.
//!
//! One case a line. The guest is a boot sector that prints a text and performs one action. Beside each case
//! runs a machine of the same process that nothing happens to.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod matrix;

use std::time::Duration;

use loadgauge::machine::{BootAction, Fault, StopMethod};
use matrix::{Case, Inject};

macro_rules! matrix {
    ($($name:ident: $text:expr, $action:expr, $inject:expr => $fault:pat, $within:literal s;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let case = Case { name: stringify!($name), text: $text, action: $action, inject: $inject };
            let limit = Duration::from_secs($within);
            matrix::check(case, limit, |fault| matches!(fault, $fault)).await;
        }
    )*};
}

// `within` is the time from the cause, with room for a busy host.
#[rustfmt::skip]
matrix! {
    // what the guest does
    panics:            "Kernel panic - not syncing: x\n", BootAction::Idle, Inject::Nothing => Fault::Panic { .. }, 8 s;
    panics_and_resets: "Kernel panic - not syncing: x\n", BootAction::Reset, Inject::Nothing => Fault::Panic { .. }, 8 s;
    oopses:            "[ 3.1] Oops: 0002 [#1] PREEMPT SMP NOPTI\n", BootAction::Idle, Inject::Nothing => Fault::Panic { .. }, 8 s;
    initrd_fails:      "ignition[41]: CRITICAL : Ignition failed: x\n", BootAction::Idle, Inject::Nothing => Fault::Initrd { .. }, 8 s;
    initrd_shell:      "Press Enter for emergency shell or wait\n", BootAction::Idle, Inject::Nothing => Fault::Initrd { .. }, 8 s;
    emergency_shell:   "Welcome to Flatcar!\n[FAILED] Failed to mount x.\nYou are in emergency mode.\n", BootAction::Idle, Inject::Nothing => Fault::Emergency { .. }, 8 s;
    nothing_to_boot:   "error: no such partition.\nEntering rescue mode...\ngrub rescue> ", BootAction::Idle, Inject::Nothing => Fault::Boot { .. }, 8 s;
    powers_off:        "bye\n", BootAction::PowerOff, Inject::Nothing => Fault::PoweredOff, 8 s;
    processors_stop:   "reboot: System halted\n", BootAction::Halt, Inject::Nothing => Fault::Halted { .. }, 15 s;
    never_ready:       "hello\n", BootAction::Idle, Inject::Waiting(6) => Fault::TimedOut { .. }, 12 s;
    console_silent:    "", BootAction::Idle, Inject::Waiting(30) => Fault::Silent { .. }, 12 s;
    // what happens to QEMU
    qemu_killed:       "hello\n", BootAction::Idle, Inject::Signal("KILL") => Fault::Exited { .. }, 8 s;
    qemu_terminated:   "hello\n", BootAction::Idle, Inject::Signal("TERM") => Fault::Exited { .. }, 8 s;
    qemu_stopped:      "hello\n", BootAction::Idle, Inject::Signal("STOP") => Fault::Hung { .. }, 15 s;
    guest_stopped:     "hello\n", BootAction::Idle, Inject::Internal => Fault::Stopped { .. }, 8 s;
    tpm_killed:        "hello\n", BootAction::Idle, Inject::TpmKilled => Fault::Tpm { .. }, 8 s;
    // what happens to the host
    disk_full:         "filling\n", BootAction::FillDisk, Inject::SmallDisk => Fault::Disk { .. }, 20 s;
}

/// A QEMU that neither answers nor reacts to SIGTERM is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_is_killed() {
    let bench = matrix::Bench::new();
    let machine = bench.boot("stopped", "hello\n", BootAction::Idle).await;
    matrix::signal(machine.pid(), "STOP");
    let stopped = machine.stop().await;
    assert_eq!(stopped.method, StopMethod::Killed, "{stopped:?}");
    assert_eq!(bench.supervisor.children(), []);
}

// The parts that run in child processes; see `matrix::inside`.

#[test]
#[ignore = "another test runs it with little disk space"]
fn disk_full_inside() {
    matrix::run_inside("disk_full", BootAction::FillDisk);
}

#[test]
#[ignore = "another test runs it with a fake QEMU"]
fn guest_stopped_inside() {
    matrix::run_inside("guest_stopped", BootAction::Idle);
}

#[test]
#[ignore = "acts as QEMU for another test"]
fn fake_qemu() {
    matrix::fake::play();
}
