// SPDX-License-Identifier: Apache-2.0
//! Starts machines cold or warm, and makes the snapshots that warm ones need.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use loadgauge_host::Store;
use loadgauge_images::Architecture;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::machine::Machine;
use super::plan::MachinePlan;
use super::start::StartError;
use super::supervisor::Supervisor;
use crate::machine::health::fault::Fault;
use crate::machine::qemu::acceleration::Acceleration;
use crate::machine::qemu::capabilities::{QemuCapabilities, SnapshotMode};
use crate::machine::qemu::emulator::Emulator;
use crate::machine::snapshot::builder::{SnapshotBuilder, SnapshotError};
use crate::machine::snapshot::key::{Host, SnapshotKey, host_processor};
use crate::machine::snapshot::snapshots::{Held, Snapshots, Taken};

/// How often is asked whether a snapshot that another run or scenario makes is there.
const PAUSE: Duration = Duration::from_millis(50);
/// For a guest to do as it was ordered, under KVM.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of the host's disk that a snapshot must leave free.
const RESERVE: u64 = 1 << 30;

/// How a machine came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// it was powered on
    Cold,
    /// it was restored from a snapshot of a booted machine
    Warm,
}

/// What the user asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StartChoice {
    /// warm where it saves a boot: several scenarios have the same machine, or its snapshot is there
    #[default]
    Auto,
    /// warm wherever it can be, also for one scenario
    Warm,
    /// cold, every machine
    Cold,
}

/// How a machine is to start, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// cold or warm
    pub start: Start,
    /// why, in words
    pub reason: String,
    key: Option<SnapshotKey>,
}

impl Decision {
    /// The digest of its machine's key, where there is one.
    pub fn snapshot(&self) -> Option<&str> {
        self.key.as_ref().map(SnapshotKey::digest)
    }

    /// A cold start, whatever the host could do.
    pub fn cold(reason: &str) -> Self {
        Self { start: Start::Cold, reason: reason.to_owned(), key: None }
    }
}

/// How a machine did start, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// cold or warm
    pub start: Start,
    /// why, in words
    pub reason: String,
    /// milliseconds that it took to boot the machine that the snapshot was made of, and to make it,
    /// where it was made for this machine
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_ms: Option<u64>,
}

/// A machine cannot be started.
#[derive(Debug)]
pub enum BeginError {
    /// the host is in the way
    Start(StartError),
    /// the guest that was to be saved did not come up
    Fault(Fault),
}

/// Knows which snapshots there are and makes others.
#[derive(Debug)]
pub struct MachineStarter {
    snapshots: Snapshots,
    /// or why no snapshot can be made
    host: Result<Host, String>,
    factor: f64,
    boot: Duration,
}

/// Where a machine lives, beside its plan.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// what is kept of it
    pub directory: &'a Utf8Path,
    /// see [`Machine::start`]
    pub relay: &'a Utf8Path,
    /// who ends it
    pub supervisor: &'a Supervisor,
}

impl MachineStarter {
    /// A starter for guests of an architecture that keeps its snapshots in a store, where they shall take
    /// `limit` bytes at most. A guest may take `boot` to come up.
    pub fn new(
        store: &Store,
        limit: u64,
        architecture: Architecture,
        acceleration: &Acceleration,
        boot: Duration,
    ) -> Self {
        Self {
            snapshots: Snapshots::in_store(store, limit),
            host: ask_host(architecture, store),
            factor: acceleration.factor.max(1.0),
            boot,
        }
    }

    /// The same starter with another way to save machines than the best one.
    #[must_use]
    pub fn saving(self, way: SnapshotMode) -> Self {
        Self { host: self.host.map(|host| Host { mode: way, ..host }), ..self }
    }

    /// The snapshots that it keeps.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Decides for machines that are to run, each so many times, with whether its scenario wants it cold.
    pub fn decide(
        &self,
        choice: StartChoice,
        machines: &[(&MachinePlan, bool)],
        times: usize,
    ) -> Vec<Decision> {
        let key = |(plan, cold): &(&MachinePlan, bool)| {
            if must_be_cold(plan, *cold).is_none() { self.key(plan) } else { None }
        };
        let keys: Vec<Option<SnapshotKey>> = machines.iter().map(key).collect();
        let mut sharing: HashMap<&str, usize> = HashMap::new();
        for key in keys.iter().flatten() {
            *sharing.entry(key.digest()).or_default() += times;
        }
        let decide = |((plan, cold), key): (&(&MachinePlan, bool), &Option<SnapshotKey>)| {
            let count = key.as_ref().map_or(0, |key| sharing[key.digest()]);
            let (start, reason) = self.judge(choice, must_be_cold(plan, *cold), key.as_ref(), count);
            Decision { start, reason, key: key.clone() }
        };
        machines.iter().zip(&keys).map(decide).collect()
    }

    fn judge(
        &self,
        choice: StartChoice,
        must_be_cold: Option<&str>,
        key: Option<&SnapshotKey>,
        count: usize,
    ) -> (Start, String) {
        let cold = |reason: &str| (Start::Cold, reason.to_owned());
        if choice == StartChoice::Cold {
            return cold("every machine was asked to start cold");
        }
        if let Some(reason) = must_be_cold {
            return cold(reason);
        }
        let key = match (key, &self.host) {
            (_, Err(reason)) => return cold(reason),
            (None, Ok(_)) => return cold("its config cannot be made"),
            (Some(key), Ok(_)) => key,
        };
        if self.snapshots.has(key.digest()) {
            return (Start::Warm, "there is a snapshot of its machine".to_owned());
        }
        match (choice, count) {
            (_, 2..) => (Start::Warm, format!("the run has its machine {count} times")),
            (StartChoice::Warm, _) => (Start::Warm, "it was asked for".to_owned()),
            _ => cold("no other scenario has its machine"),
        }
    }

    fn key(&self, plan: &MachinePlan) -> Option<SnapshotKey> {
        SnapshotKey::of(plan, self.host.as_ref().ok()?).ok()
    }

    /// Starts a machine as it was decided, or cold where a warm start turns out not to be possible; then
    /// the reason says so.
    ///
    /// # Errors
    /// The machine does not start, or the guest that was to be saved does not come up.
    pub async fn start(
        &self,
        plan: MachinePlan,
        decision: &Decision,
        place: Place<'_>,
    ) -> Result<(Machine, Started), BeginError> {
        let reason = match (&decision.key, &self.host) {
            (Some(key), Ok(host)) if decision.start == Start::Warm => {
                match self.start_warm(&plan, key, host, place).await {
                    Ok((machine, snapshot_ms)) => {
                        let reason = decision.reason.clone();
                        return Ok((machine, Started { start: Start::Warm, reason, snapshot_ms }));
                    }
                    Err(Obstacle::Fatal(error)) => return Err(error),
                    Err(Obstacle::Cold(reason)) => {
                        tracing::warn!(machine = %plan.name, reason, "the machine starts cold");
                        reason
                    }
                }
            }
            _ => decision.reason.clone(),
        };
        let Place { directory, relay, supervisor } = place;
        let machine = Machine::start(plan, directory.to_owned(), relay.to_owned(), supervisor).await;
        let started = Started { start: Start::Cold, reason, snapshot_ms: None };
        Ok((machine.map_err(BeginError::Start)?, started))
    }

    /// A machine from a snapshot, with the milliseconds that it took to make that one, if it was.
    async fn start_warm(
        &self,
        plan: &MachinePlan,
        key: &SnapshotKey,
        host: &Host,
        place: Place<'_>,
    ) -> Result<(Machine, Option<u64>), Obstacle> {
        let Place { directory, relay, supervisor } = place;
        let (held, snapshot_ms) = self.obtain(plan, key, host, place).await?;
        let limit = ANSWER.mul_f64(self.factor);
        let (directory, relay) = (directory.to_owned(), relay.to_owned());
        match Machine::restore(plan.clone(), &held, directory, relay, supervisor, limit).await {
            Ok(machine) => Ok((machine, snapshot_ms)),
            Err(error @ (StartError::NoCopy { .. } | StartError::Restore(_))) => {
                // Whoever comes next shall not be held up by it again.
                drop(held);
                self.snapshots.discard(key.digest());
                Err(Obstacle::Cold(format!("its snapshot was refused and removed: {}", chain(&error))))
            }
            Err(error) => Err(Obstacle::Fatal(BeginError::Start(error))),
        }
    }

    /// Takes the snapshot of a machine, or makes it, or waits for whoever is making it.
    async fn obtain(
        &self,
        plan: &MachinePlan,
        key: &SnapshotKey,
        host: &Host,
        place: Place<'_>,
    ) -> Result<(Arc<Held>, Option<u64>), Obstacle> {
        let begun = Instant::now();
        let cold = |error: &dyn std::error::Error| {
            Obstacle::Cold(format!("no snapshot can be made: {}", chain(error)))
        };
        let token = place.supervisor.token();
        loop {
            match self.snapshots.take(key.digest()).map_err(|error| cold(&error))? {
                Taken::Held(held) => return Ok((held, None)),
                Taken::Busy => tokio::select! {
                    () = sleep(PAUSE) => {}
                    () = token.cancelled() => return Err(Obstacle::Fatal(BeginError::Start(StartError::Cancelled))),
                },
                Taken::Vacant(vacancy) => {
                    room_for(plan, vacancy.files.state().parent().unwrap_or(Utf8Path::new("/")))
                        .map_err(Obstacle::Cold)?;
                    let founding = SnapshotBuilder {
                        plan,
                        key,
                        host,
                        directory: place.directory,
                        relay: place.relay,
                        supervisor: place.supervisor,
                        boot: self.boot,
                        answer: ANSWER.mul_f64(self.factor),
                    };
                    let held = founding.found(vacancy).await.map_err(|error| match error {
                        SnapshotError::Start(error) => Obstacle::Fatal(BeginError::Start(error)),
                        SnapshotError::Fault(fault) => Obstacle::Fatal(BeginError::Fault(fault)),
                        error => cold(&error),
                    })?;
                    self.trim();
                    let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                    return Ok((held, Some(took)));
                }
            }
        }
    }

    /// Removes the snapshots that are too many.
    pub fn trim(&self) {
        match self.snapshots.trim() {
            Ok(removed) => {
                for entry in removed {
                    tracing::debug!(key = entry.key, size = entry.size, "a snapshot was removed");
                }
            }
            Err(error) => tracing::warn!(%error, "snapshots that are too many cannot be removed"),
        }
    }
}

impl Started {
    /// How, in words.
    pub fn words(&self) -> String {
        match (self.start, self.snapshot_ms) {
            (Start::Cold, _) => "cold start".to_owned(),
            (Start::Warm, None) => "warm start".to_owned(),
            (Start::Warm, Some(took)) => {
                let seconds = Duration::from_millis(took).as_secs_f64();
                format!("warm start (its snapshot was made in {seconds:.1} s)")
            }
        }
    }
}

/// Why a machine starts cold although it could be restored.
fn must_be_cold(plan: &MachinePlan, asked: bool) -> Option<&'static str> {
    if asked {
        return Some("the scenario asks for it");
    }
    plan.station.map(|_| "its boot may need the other machines, and a snapshot is made of one alone")
}

/// Why a machine does not start warm.
enum Obstacle {
    /// it may start cold all the same
    Cold(String),
    /// it would not start cold either
    Fatal(BeginError),
}

impl fmt::Display for Start {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        })
    }
}

/// What a key takes from this host, or why no snapshot can be made on it.
fn ask_host(architecture: Architecture, store: &Store) -> Result<Host, String> {
    let emulator = Emulator::find(architecture).map_err(|error| error.to_string())?;
    let abilities = QemuCapabilities::of(&emulator, store).map_err(|error| chain(&error))?;
    let way = abilities.snapshot_mode(emulator.version())?;
    let alias = match architecture {
        Architecture::Amd64 => "q35",
        Architecture::Arm64 => "virt",
    };
    let machine = abilities.machine(alias);
    let machine =
        machine.ok_or_else(|| format!("QEMU does not say which version its machine `{alias}` has"))?;
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Ok(Host {
        emulator: emulator.identity(),
        machine: machine.to_owned(),
        mode: way,
        processor: host_processor(&cpuinfo),
    })
}

/// Whether the host's disk has room for a machine's memory.
fn room_for(plan: &MachinePlan, directory: &Utf8Path) -> Result<(), String> {
    let disk = rustix::fs::statvfs(directory.as_std_path())
        .map_err(|error| format!("the host does not say how full its disk is: {error}"))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = (u64::from(plan.spec.memory_mib) << 20) + RESERVE;
    if free < needed {
        return Err(format!(
            "its snapshot may need {} MiB of disk, and {} are free",
            needed >> 20,
            free >> 20
        ));
    }
    Ok(())
}

/// An error with its causes, in a line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
