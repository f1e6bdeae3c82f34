// SPDX-License-Identifier: Apache-2.0
//! Feels whether a machine lives: whether QEMU answers, whether a processor of the guest still can run,
//! and whether the host's time went on as it should.
//!
//! A machine that hangs tells of nothing. It is asked, therefore, every few seconds, which costs neither
//! the guest nor the host anything that could be measured.
use std::time::{Duration, Instant, SystemTime};

use loadgauge_images::Architecture;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::monitor::Symptom;
use crate::machine::qemu::qmp::{Qmp, QmpError};

/// How often a machine is asked.
const BEAT: Duration = Duration::from_secs(2);
/// How long a QEMU may take to answer that is only slow: its monitor waits for its disks now and then.
const SLOW: Duration = Duration::from_secs(20);
/// How long a QEMU has been silent whose process is stopped, before it counts as hung: a debugger, or
/// whoever suspends and resumes it at once, does no harm.
const STOPPED: Duration = Duration::from_secs(4);
/// By how much the host's clocks may differ from each other from one beat to the next. Clocks that
/// are being adjusted differ by less, hosts that slept by more.
const JUMP: Duration = Duration::from_secs(30);

/// Whose pulse is felt.
pub(crate) struct Patient {
    pub(crate) qmp: Qmp,
    /// QEMU's process
    pub(crate) pid: u32,
    pub(crate) architecture: Architecture,
}

/// Feels a machine's pulse until it is told to stop, or has found something.
pub(crate) async fn feel(patient: Patient, symptoms: mpsc::Sender<Symptom>, end: CancellationToken) {
    let found = tokio::select! {
        () = end.cancelled() => return,
        found = examine(&patient) => found,
    };
    if let Some(symptom) = found {
        // Nobody reads any more when the machine is being stopped at the same time.
        let _ = symptoms.send(symptom).await;
    }
}

/// Waits for the first symptom; there is none to come once QEMU has closed its monitor.
async fn examine(patient: &Patient) -> Option<Symptom> {
    let mut dead_before = false;
    let mut clocks = Clocks::now();
    loop {
        sleep(BEAT).await;
        let now = Clocks::now();
        if let Some(symptom) = clocks.jump(&now) {
            return Some(symptom);
        }
        clocks = now;
        let status = match answer(patient).await {
            Ok(status) => status?,
            Err(symptom) => return Some(symptom),
        };
        let dead = status == "running" && is_dead(patient).await;
        if dead && dead_before {
            return Some(Symptom::Halted);
        }
        dead_before = dead;
    }
}

/// QEMU's state, nothing if it closed its monitor, or the symptom that it does not answer.
async fn answer(patient: &Patient) -> Result<Option<String>, Symptom> {
    let begun = Instant::now();
    let status = patient.qmp.status();
    tokio::pin!(status);
    loop {
        match timeout(Duration::from_secs(1), &mut status).await {
            Ok(Ok(status)) => return Ok(Some(status)),
            Ok(Err(QmpError::Closed)) => return Ok(None),
            // It answered, whatever it was.
            Ok(Err(_)) => return Ok(Some(String::new())),
            Err(_) => {}
        }
        let state = process_state(patient.pid);
        let patience = if state == IS_STOPPED { STOPPED } else { SLOW };
        if begun.elapsed() >= patience {
            return Err(Symptom::Hung { seconds: begun.elapsed().as_secs(), state });
        }
    }
}

/// What a process does that was stopped by a signal or is held by a debugger.
const IS_STOPPED: &str = "is stopped";

/// Whether a process was stopped by a signal or is held by a debugger.
pub(crate) fn is_stopped(pid: u32) -> bool {
    process_state(pid) == IS_STOPPED
}

/// What a process does, as a predicate (proc_pid_stat(5): the field after the name in brackets).
fn process_state(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    match state {
        Some('T' | 't') => IS_STOPPED.to_owned(),
        Some('D') => "waits for a disk or a network of the host".to_owned(),
        Some('Z') | None => "is gone".to_owned(),
        Some(_) => "runs".to_owned(),
    }
}

/// Whether no processor of the guest can ever run again. Where that cannot be told, it is not so.
async fn is_dead(patient: &Patient) -> bool {
    if patient.architecture != Architecture::Amd64 {
        return false;
    }
    patient.qmp.human("info registers -a").await.is_ok_and(|registers| all_halted(&registers))
}

/// Whether each processor is halted while it takes no interrupts: bit 9 of `EFL` is the flag for them,
/// `HLT` is QEMU's own (its `x86_cpu_dump_state`).
fn all_halted(registers: &str) -> bool {
    let mut processors =
        registers.lines().filter(|line| line.contains(" HLT=") && line.contains("FL=")).peekable();
    processors.peek().is_some()
        && processors.all(|line| {
            let field = |name: &str| line.split_once(name)?.1.split_whitespace().next();
            let flags = field("FL=").and_then(|hex| u64::from_str_radix(hex, 16).ok());
            field(" HLT=") == Some("1") && flags.is_some_and(|flags| flags & (1 << 9) == 0)
        })
}

/// The host's clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    /// stands while the host sleeps
    awake: Instant,
    /// since the host was started, its sleep included; nothing where the kernel does not tell
    uptime: Option<Duration>,
    /// what the host takes for the time of day
    wall: SystemTime,
}

impl Clocks {
    fn now() -> Self {
        // proc_uptime(5): seconds, with two decimals.
        let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds = text.split(' ').next().and_then(|word| word.parse().ok());
        let uptime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self { awake: Instant::now(), uptime, wall: SystemTime::now() }
    }

    /// What happened to the host's time from one moment to a later one.
    fn jump(&self, later: &Self) -> Option<Symptom> {
        let awake = later.awake.saturating_duration_since(self.awake);
        let passed = match (self.uptime, later.uptime) {
            (Some(before), Some(after)) => after.saturating_sub(before).max(awake),
            _ => awake,
        };
        let asleep = passed.saturating_sub(awake);
        if asleep >= JUMP {
            return Some(Symptom::Clock { what: format!("the host slept for {} s", asleep.as_secs()) });
        }
        let expected = self.wall + passed;
        let (direction, by) = match later.wall.duration_since(expected) {
            Ok(ahead) => ("forward", ahead),
            Err(behind) => ("back", behind.duration()),
        };
        let what = format!("the host's clock was set {direction} by {} s", by.as_secs());
        (by >= JUMP).then_some(Symptom::Clock { what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_dead_when_no_processor_can_run_again() {
        let registers = |flags: [(&str, u8); 2]| {
            let line = |(flags, halted)| {
                format!(
                    "CPU#0\nEAX=1 EBX=2\nEIP=3 EFL={flags} [-------] CPL=0 II=0 A20=1 SMM=0 HLT={halted}\n"
                )
            };
            flags.map(line).concat()
        };
        assert!(all_halted(&registers([("00000002", 1), ("00000046", 1)])));
        assert!(!all_halted(&registers([("00000202", 1), ("00000002", 1)])), "an interrupt wakes the first");
        assert!(!all_halted(&registers([("00000002", 1), ("00000002", 0)])), "the second runs");
        assert!(all_halted("CPU#0\nRIP=ffffffff81 RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\n"));
        assert!(!all_halted(""), "what is not told is not so");
    }

    #[test]
    fn a_clock_that_jumps_is_told_from_one_that_goes() {
        let then = Clocks {
            awake: Instant::now(),
            uptime: Some(Duration::from_secs(1000)),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
        };
        let later = |awake, uptime: u64, wall: i64| {
            let later = Clocks {
                awake: then.awake + Duration::from_secs(awake),
                uptime: Some(Duration::from_secs(1000 + uptime)),
                wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_u64.saturating_add_signed(wall)),
            };
            match then.jump(&later) {
                Some(Symptom::Clock { what }) => what,
                _ => "nothing".to_owned(),
            }
        };
        assert_eq!(later(2, 2, 2), "nothing");
        assert_eq!(later(25, 25, 26), "nothing", "a busy host beats late, and its clock is adjusted");
        assert_eq!(later(2, 3602, 3602), "the host slept for 3600 s");
        assert_eq!(later(2, 2, 7202), "the host's clock was set forward by 7200 s");
        assert_eq!(later(2, 2, -58), "the host's clock was set back by 60 s");
    }

    #[test]
    fn the_state_of_a_process_is_read() {
        assert_eq!(process_state(std::process::id()), "runs");
        assert_eq!(process_state(0), "is gone");
    }
}
