// SPDX-License-Identifier: Apache-2.0
//! The fault matrix: whatever can happen to a machine is an outcome with its cause within seconds, and
//! none takes another machine with it.
//!
//! One case a line. Most need no Linux: their guest is a sector that prints a text and then does one
//! thing. Beside each runs a machine that nothing happens to.
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

// `within` counts from the cause on, and leaves room for a host that does other things as well.
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

/// A machine whose process neither answers nor takes SIGTERM is ended all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_ladder_has_a_last_rung() {
    let bench = matrix::Bench::new();
    let machine = bench.boot("stopped", "hello\n", BootAction::Idle).await;
    matrix::signal(machine.pid(), "STOP");
    let stopped = machine.stop().await;
    assert_eq!(stopped.method, StopMethod::Killed, "{stopped:?}");
    assert_eq!(bench.supervisor.children(), []);
}

// The parts that run in processes of their own; see `matrix::inside`.

#[test]
#[ignore = "another test runs it with little room on the disk"]
fn disk_full_inside() {
    matrix::run_inside("disk_full", BootAction::FillDisk);
}

#[test]
#[ignore = "another test runs it with a QEMU that is none"]
fn guest_stopped_inside() {
    matrix::run_inside("guest_stopped", BootAction::Idle);
}

#[test]
#[ignore = "plays QEMU for another test"]
fn fake_qemu() {
    matrix::fake::play();
}
