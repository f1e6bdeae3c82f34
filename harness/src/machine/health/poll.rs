// SPDX-License-Identifier: Apache-2.0
//! Polls a machine for faults that cause no event: a QEMU that does not answer, a guest that cannot run
//! again, and a host whose clocks jumped.
//!
//! A hung machine emits no event, so its state is polled every few seconds. The cost is not measurable.
use std::time::{Duration, Instant, SystemTime};

use loadgauge_host::fs;
use loadgauge_images::Architecture;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::host_load::HostLoad;
use super::symptom::Symptom;
use crate::machine::qemu::process::ProcessState;
use crate::machine::qemu::qmp::{Qmp, QmpError, RunState};

/// The interval between two polls.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long a running QEMU may take to answer: it waits for its disks now and then.
const SLOW: Duration = Duration::from_secs(20);
/// How long a stopped QEMU may take to answer: a debugger, or a user who suspends and resumes it at once,
/// does no harm.
const STOPPED: Duration = Duration::from_secs(4);
/// By how much the host's clocks may differ after an interval. Clocks that are being adjusted differ by
/// less, those of a host that was suspended by more.
const JUMP: Duration = Duration::from_secs(30);

/// The machine to poll.
pub(crate) struct Target {
    pub(crate) qmp: Qmp,
    /// the process ID of QEMU
    pub(crate) pid: u32,
    pub(crate) architecture: Architecture,
    /// measured at each poll
    pub(crate) load: HostLoad,
}

/// Polls a machine until the token is cancelled or there is a symptom.
pub(crate) async fn watch(target: Target, symptoms: mpsc::Sender<Symptom>, end: CancellationToken) {
    let found = tokio::select! {
        () = end.cancelled() => return,
        found = first_symptom(&target) => found,
    };
    if let Some(symptom) = found {
        // The channel is closed if the machine is being stopped at the same time.
        let _ = symptoms.send(symptom).await;
    }
}

/// Waits for the first symptom. There is none once QEMU has closed its QMP connection.
async fn first_symptom(target: &Target) -> Option<Symptom> {
    let mut was_halted = false;
    let mut clocks = Clocks::now();
    loop {
        sleep(INTERVAL).await;
        target.load.record();
        let now = Clocks::now();
        if let Some(symptom) = clocks.jump(&now) {
            return Some(symptom);
        }
        clocks = now;
        let is_running = match query(target).await {
            Ok(Query::State(state)) => state == RunState::Running,
            Ok(Query::Refused) => false,
            Ok(Query::Closed) => return None,
            Err(symptom) => return Some(symptom),
        };
        let halted = is_running && is_halted(target).await;
        if halted && was_halted {
            return Some(Symptom::Halted);
        }
        was_halted = halted;
    }
}

/// QEMU's answer to a query of its run state.
enum Query {
    State(RunState),
    /// an error, which is an answer as well
    Refused,
    /// the QMP connection is closed
    Closed,
}

/// Queries the run state, or returns the symptom of a QEMU that does not answer.
async fn query(target: &Target) -> Result<Query, Symptom> {
    let begun = Instant::now();
    let state = target.qmp.run_state();
    tokio::pin!(state);
    loop {
        match timeout(Duration::from_secs(1), &mut state).await {
            Ok(Ok(state)) => return Ok(Query::State(state)),
            Ok(Err(QmpError::Closed)) => return Ok(Query::Closed),
            Ok(Err(_)) => return Ok(Query::Refused),
            Err(_) => {}
        }
        let state = ProcessState::of(target.pid);
        let limit = if state == ProcessState::Stopped { STOPPED } else { SLOW };
        if begun.elapsed() >= limit {
            return Err(Symptom::Hung { seconds: begun.elapsed().as_secs(), state });
        }
    }
}

/// Whether no processor of the guest can run again, as far as it is known.
async fn is_halted(target: &Target) -> bool {
    if target.architecture != Architecture::Amd64 {
        return false;
    }
    target.qmp.human("info registers -a").await.is_ok_and(|registers| all_halted(&registers))
}

/// Whether each processor is halted with interrupts off: bit 9 of `EFL` enables interrupts, and QEMU's
/// `x86_cpu_dump_state` prints `HLT`.
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

/// The host's clocks at one time.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    /// does not advance while the host is suspended
    awake: Instant,
    /// since the host booted, including suspension; unknown if the kernel does not report it
    uptime: Option<Duration>,
    /// the time of day
    wall: SystemTime,
}

impl Clocks {
    fn now() -> Self {
        // proc_uptime(5): seconds, with two decimals.
        let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds = text.split(' ').next().and_then(|seconds| seconds.parse().ok());
        let uptime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self { awake: Instant::now(), uptime, wall: SystemTime::now() }
    }

    /// The symptom of a suspension or of a clock that was set between two times.
    fn jump(&self, later: &Self) -> Option<Symptom> {
        let awake = later.awake.saturating_duration_since(self.awake);
        let passed = match (self.uptime, later.uptime) {
            (Some(before), Some(after)) => after.saturating_sub(before).max(awake),
            _ => awake,
        };
        let asleep = passed.saturating_sub(awake);
        if asleep >= JUMP {
            return Some(Symptom::Clock {
                what: format!("the host was suspended for {} s", asleep.as_secs()),
            });
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
    fn a_guest_is_halted_if_no_processor_can_run_again() {
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
        assert!(!all_halted(""), "unknown");
    }

    #[test]
    fn a_jump_of_a_clock_is_detected() {
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
        assert_eq!(later(25, 25, 26), "nothing", "a busy host polls late, and its clock is adjusted");
        assert_eq!(later(2, 3602, 3602), "the host was suspended for 3600 s");
        assert_eq!(later(2, 2, 7202), "the host's clock was set forward by 7200 s");
        assert_eq!(later(2, 2, -58), "the host's clock was set back by 60 s");
    }
}
