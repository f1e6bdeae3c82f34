// SPDX-License-Identifier: Apache-2.0
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::execute::{execute, milliseconds, panic_message};
use super::{Cause, Counts, EventKind, Events, FORMAT, Header, Job, Rig, Run};
use crate::check::Outcome;
use crate::machine::{Accelerator, MachineSpec};

/// Memory that is left to the host, in MiB.
const RESERVE: u64 = 1024;
/// What QEMU needs beside the guest's memory, in MiB: its own, and TCG's translated code.
const OVERHEAD: u64 = 512;

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// scenarios by outcome
    pub counts: Counts,
    /// whether the user broke it off
    pub interrupted: bool,
}

/// What the host can give to machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// processors that this process may use
    pub cpus: usize,
    /// memory that is free or can be freed, in MiB
    pub memory_mib: u64,
}

impl Capacity {
    /// Asks the host: the scheduler's affinity and quota, and `MemAvailable` of proc_meminfo(5).
    /// Where the host does not say, memory counts as plenty.
    pub fn of_host() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_mib(&text));
        Self { cpus, memory_mib: memory.unwrap_or(u64::MAX) }
    }
}

/// `MemAvailable` in MiB.
fn available_mib(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

/// How many machines run at a time when nobody says.
///
/// Under TCG a guest that boots keeps about one processor of the host busy, whatever its number
/// of virtual ones, so there is one machine per processor. Under KVM a boot waits for its disk half
/// of the time, so there are as many machines as twice the processors hold of the largest machine.
/// Memory is counted as if every machine were the largest and touched all of its own.
pub fn default_jobs(capacity: Capacity, specs: &[MachineSpec], accelerator: Accelerator) -> usize {
    let largest_cpus = specs.iter().map(|spec| spec.processors(accelerator)).max().unwrap_or(1).max(1);
    let largest_memory = specs.iter().map(|spec| spec.memory_mib).max().unwrap_or(0);
    let by_cpus = match accelerator {
        Accelerator::Tcg => capacity.cpus,
        Accelerator::Kvm => {
            capacity.cpus.saturating_mul(2) / usize::try_from(largest_cpus).unwrap_or(usize::MAX)
        }
    };
    let room = capacity.memory_mib.saturating_sub(RESERVE);
    let by_memory = usize::try_from(room / (u64::from(largest_memory) + OVERHEAD)).unwrap_or(usize::MAX);
    by_cpus.min(by_memory).min(specs.len()).max(1)
}

/// Executes every scenario of a run and emits its events, `run-started` first, `run-finished` last.
///
/// Scenarios start in the order of their names. When `interrupted` is cancelled, those that run
/// are stopped in order, and no other is started.
pub async fn run<R: Rig>(
    run: Run<R::Check>,
    rig: Arc<R>,
    events: Events,
    interrupted: CancellationToken,
) -> Tally {
    let started = Instant::now();
    events.emit(beginning(&run.header, &run.jobs, run.machines));
    let mut schedule = Schedule {
        rig,
        events,
        interrupted,
        counts: Counts::default(),
        running: JoinSet::new(),
        names: HashMap::new(),
    };
    for skipped in run.skipped {
        schedule.skip(skipped.scenario, skipped.reason);
    }
    let mut waiting = VecDeque::from(run.jobs);
    waiting.make_contiguous().sort_by(|one, other| one.name.cmp(&other.name));
    let mut stopped_by = None;
    loop {
        while schedule.running.len() < run.machines.max(1)
            && stopped_by.is_none()
            && !schedule.interrupted.is_cancelled()
        {
            let Some(job) = waiting.pop_front() else { break };
            schedule.start(job, run.limits);
        }
        let Some((name, outcome)) = schedule.next_end().await else { break };
        if run.fail_fast && matches!(outcome, Outcome::Failed | Outcome::Broken) {
            stopped_by.get_or_insert(name);
        }
    }
    for job in waiting {
        let reason = match &stopped_by {
            Some(name) => format!("not started, since `{name}` did not pass and the run fails fast"),
            None => "not started: the run was interrupted".to_owned(),
        };
        schedule.skip(job.name, reason);
    }
    let tally = Tally { counts: schedule.counts, interrupted: schedule.interrupted.is_cancelled() };
    schedule.events.emit(EventKind::RunFinished {
        counts: tally.counts,
        interrupted: tally.interrupted,
        duration_ms: milliseconds(started.elapsed()),
    });
    tally
}

fn beginning<C>(header: &Header, jobs: &[Job<C>], machines: usize) -> EventKind {
    let mut scenarios: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
    scenarios.sort();
    EventKind::RunStarted {
        format: FORMAT,
        version: header.version.clone(),
        directory: header.directory.clone(),
        image: header.image.clone(),
        image_digest: header.image_digest.clone(),
        image_name: header.image_name.clone(),
        acceleration: header.acceleration.clone(),
        scenarios,
        jobs: machines.max(1),
    }
}

struct Schedule<R: Rig> {
    rig: Arc<R>,
    events: Events,
    interrupted: CancellationToken,
    counts: Counts,
    running: JoinSet<Outcome>,
    names: HashMap<Id, String>,
}

impl<R: Rig> Schedule<R> {
    fn start(&mut self, job: Job<R::Check>, limits: super::Limits) {
        let name = job.name.clone();
        let (rig, events, interrupted) =
            (Arc::clone(&self.rig), self.events.clone(), self.interrupted.clone());
        let task =
            self.running.spawn(async move { execute(&*rig, &job, limits, &events, &interrupted).await });
        self.names.insert(task.id(), name);
    }

    fn skip(&mut self, scenario: String, reason: String) {
        self.counts.add(Outcome::Skipped);
        self.events.emit(EventKind::ScenarioSkipped { scenario, reason });
    }

    /// Waits for the next scenario to end; nothing when none runs.
    async fn next_end(&mut self) -> Option<(String, Outcome)> {
        let (id, outcome) = match self.running.join_next_with_id().await? {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => (error.id(), self.lost(error)),
        };
        self.counts.add(outcome);
        Some((self.names.remove(&id).unwrap_or_default(), outcome))
    }

    /// A task that panicked outside of the scenario's own course still gets its last event.
    fn lost(&self, error: JoinError) -> Outcome {
        let scenario = self.names.get(&error.id()).cloned().unwrap_or_default();
        let message = match error.try_into_panic() {
            Ok(panic) => format!("the harness panicked: {}", panic_message(panic.as_ref())),
            Err(error) => format!("the scenario's task was lost: {error}"),
        };
        let cause = Some(Cause { message, hint: None, fault: None });
        let outcome = Outcome::Broken;
        self.events.emit(EventKind::ScenarioFinished { scenario, outcome, cause, duration_ms: 0 });
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(cpus: usize, memory_mib: u64, count: usize, accelerator: Accelerator) -> usize {
        let spec = MachineSpec { memory_mib: 1536, cpus: Some(2), ..MachineSpec::default() };
        default_jobs(Capacity { cpus, memory_mib }, &vec![spec; count], accelerator)
    }

    #[test]
    fn the_scarcer_of_processors_and_memory_decides() {
        assert_eq!(jobs(2, 24_000, 9, Accelerator::Tcg), 2);
        assert_eq!(jobs(8, 24_000, 9, Accelerator::Kvm), 8);
        assert_eq!(jobs(8, 1024 + 3 * 2048, 9, Accelerator::Tcg), 3, "memory for three");
        assert_eq!(jobs(8, 24_000, 2, Accelerator::Tcg), 2, "no more than there are scenarios");
    }

    #[test]
    fn there_is_always_one() {
        assert_eq!(jobs(1, 0, 0, Accelerator::Kvm), 1);
    }

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:       24689512 kB\nMemFree:         1000 kB\nMemAvailable:   20971520 kB\n";
        assert_eq!(available_mib(text), Some(20_480));
        assert_eq!(available_mib("MemTotal: 1 kB\n"), None);
    }
}
