// SPDX-License-Identifier: Apache-2.0
//! Starts machines cold or warm, and makes the snapshots for warm starts.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use loadgauge_host::error::on_one_line;
use loadgauge_host::{Store, fs};
use loadgauge_images::Architecture;
use tokio::time::{Instant, sleep};

use super::health::fault::Fault;
use super::machine::Machine;
use super::plan::MachinePlan;
use super::qemu::acceleration::Acceleration;
use super::qemu::capabilities::{QemuCapabilities, SnapshotMode};
use super::qemu::emulator::Emulator;
use super::snapshot::builder::{SnapshotBuilder, SnapshotError};
use super::snapshot::key::{SnapshotHost, SnapshotKey, host_processor};
use super::snapshot::snapshots::{SnapshotInUse, SnapshotLookup, Snapshots};
use super::start_error::StartError;
use super::start_method::{ColdReason, Start, StartChoice, StartMethod, StartReport, WarmReason};
use super::supervisor::Supervisor;

/// The interval at which a snapshot is looked for that another run or scenario makes.
const PAUSE: Duration = Duration::from_millis(50);
/// The time for a guest to answer a request over its event port, under KVM.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of the host's disk that a snapshot must leave free.
const RESERVE: u64 = 1 << 30;

/// A machine cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StarterError {
    /// the host prevents it
    #[error(transparent)]
    Start(#[from] StartError),
    /// the guest of the snapshot's machine did not come up
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Starts machines, and finds or makes the snapshots for warm starts.
#[derive(Debug)]
pub struct MachineStarter {
    snapshots: Snapshots,
    /// what keys take from the host, or why the host cannot make snapshots
    host: Result<SnapshotHost, String>,
    factor: f64,
    boot_limit: Duration,
}

/// What a machine gets beside its plan.
#[derive(Debug, Clone, Copy)]
pub struct MachineContext<'a> {
    /// the directory of its records
    pub directory: &'a Utf8Path,
    /// the relay program, see [`Machine::start`]
    pub relay: &'a Utf8Path,
    /// the supervisor that stops it
    pub supervisor: &'a Supervisor,
}

/// Why a warm start failed.
enum WarmStartError {
    /// a cold start is still possible
    Cold(ColdReason),
    /// a cold start would fail as well
    Fatal(StarterError),
}

impl MachineStarter {
    /// Creates a starter for guests of an architecture. Its snapshots are in a store, where they use
    /// `limit` bytes at most. A guest may take `boot_limit` to boot.
    pub fn new(
        store: &Store,
        limit: u64,
        architecture: Architecture,
        acceleration: &Acceleration,
        boot_limit: Duration,
    ) -> Self {
        Self {
            snapshots: Snapshots::in_store(store, limit),
            host: snapshot_host(architecture, store),
            factor: acceleration.factor.max(1.0),
            boot_limit,
        }
    }

    /// The same starter with another snapshot mode than the best one.
    #[must_use]
    pub fn saving(self, mode: SnapshotMode) -> Self {
        Self { host: self.host.map(|host| SnapshotHost { mode, ..host }), ..self }
    }

    /// The snapshots in the store.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Chooses how machines start. Each is started `times` times; the `bool` says whether its scenario
    /// requires a cold start.
    pub fn choose(
        &self,
        choice: StartChoice,
        machines: &[(&MachinePlan, bool)],
        times: usize,
    ) -> Vec<StartMethod> {
        let key = |(plan, cold): &(&MachinePlan, bool)| {
            if cold_reason(plan, *cold).is_none() { self.key(plan) } else { None }
        };
        let keys: Vec<Option<SnapshotKey>> = machines.iter().map(key).collect();
        let mut sharing: HashMap<String, usize> = HashMap::new();
        for key in keys.iter().flatten() {
            *sharing.entry(key.digest().to_owned()).or_default() += times;
        }
        let choose = |((plan, cold), key): (&(&MachinePlan, bool), Option<SnapshotKey>)| {
            let count = key.as_ref().map_or(0, |key| sharing[key.digest()]);
            self.choose_one(choice, cold_reason(plan, *cold), key, count)
        };
        machines.iter().zip(keys).map(choose).collect()
    }

    fn choose_one(
        &self,
        choice: StartChoice,
        must_be_cold: Option<ColdReason>,
        key: Option<SnapshotKey>,
        count: usize,
    ) -> StartMethod {
        let must_be_cold = match choice {
            StartChoice::Cold => Some(ColdReason::Requested),
            _ => must_be_cold.or_else(|| self.host.as_ref().err().cloned().map(ColdReason::Host)),
        };
        if let Some(reason) = must_be_cold {
            return StartMethod::Cold { reason, key };
        }
        let Some(key) = key else { return StartMethod::Cold { reason: ColdReason::Conflict, key } };
        let reason = match (choice, count) {
            _ if self.snapshots.has(key.digest()) => WarmReason::SnapshotExists,
            (_, 2..) => WarmReason::Shared(count),
            (StartChoice::Warm, _) => WarmReason::Requested,
            _ => return StartMethod::Cold { reason: ColdReason::NotShared, key: Some(key) },
        };
        StartMethod::Warm { reason, key }
    }

    fn key(&self, plan: &MachinePlan) -> Option<SnapshotKey> {
        SnapshotKey::of(plan, self.host.as_ref().ok()?).ok()
    }

    /// Starts a machine as chosen, or cold if the warm start fails; the reason then names the failure.
    ///
    /// # Errors
    /// The machine does not start, or the guest of the snapshot's machine does not come up.
    pub async fn start(
        &self,
        plan: MachinePlan,
        method: &StartMethod,
        context: MachineContext<'_>,
    ) -> Result<(Machine, StartReport), StarterError> {
        let mut reason = method.reason();
        if let (StartMethod::Warm { key, .. }, Ok(host)) = (method, &self.host) {
            match self.start_warm(&plan, key, host, context).await {
                Ok((machine, snapshot_ms)) => {
                    return Ok((machine, StartReport { start: Start::Warm, reason, snapshot_ms }));
                }
                Err(WarmStartError::Fatal(error)) => return Err(error),
                Err(WarmStartError::Cold(failure)) => {
                    tracing::warn!(machine = %plan.name, reason = %failure, "the machine starts cold");
                    reason = failure.to_string();
                }
            }
        }
        let MachineContext { directory, relay, supervisor } = context;
        let machine = Machine::start(plan, directory.to_owned(), relay.to_owned(), supervisor).await?;
        Ok((machine, StartReport { start: Start::Cold, reason, snapshot_ms: None }))
    }

    /// Restores a machine. Returns with it the milliseconds for making the snapshot, if it was made.
    async fn start_warm(
        &self,
        plan: &MachinePlan,
        key: &SnapshotKey,
        host: &SnapshotHost,
        context: MachineContext<'_>,
    ) -> Result<(Machine, Option<u64>), WarmStartError> {
        let MachineContext { directory, relay, supervisor } = context;
        let (snapshot, snapshot_ms) = self.find_or_make(plan, key, host, context).await?;
        let limit = ANSWER.mul_f64(self.factor);
        let (directory, relay) = (directory.to_owned(), relay.to_owned());
        match Machine::restore(plan.clone(), &snapshot, directory, relay, supervisor, limit).await {
            Ok(machine) => Ok((machine, snapshot_ms)),
            Err(error) if may_be_damage(&error) => {
                // Removed, so that the next machine does not lose time with it.
                drop(snapshot);
                self.snapshots.discard(key.digest());
                let reason = on_one_line(&error).lines().map(str::trim).collect::<Vec<_>>().join("; ");
                Err(WarmStartError::Cold(ColdReason::Refused(reason)))
            }
            Err(error) => Err(WarmStartError::Fatal(error.into())),
        }
    }

    /// Takes the snapshot of a machine from the store, or makes it, or waits until another run or scenario
    /// has made it.
    async fn find_or_make(
        &self,
        plan: &MachinePlan,
        key: &SnapshotKey,
        host: &SnapshotHost,
        context: MachineContext<'_>,
    ) -> Result<(Arc<SnapshotInUse>, Option<u64>), WarmStartError> {
        let begun = Instant::now();
        let token = context.supervisor.token();
        loop {
            match self.snapshots.take(key.digest()).map_err(|error| no_snapshot(&error))? {
                SnapshotLookup::Ready(snapshot) => return Ok((snapshot, None)),
                SnapshotLookup::Damaged(damage) => {
                    return Err(WarmStartError::Cold(ColdReason::Refused(damage.to_string())));
                }
                SnapshotLookup::Busy => tokio::select! {
                    () = sleep(PAUSE) => {}
                    () = token.cancelled() => {
                        return Err(WarmStartError::Fatal(StartError::Cancelled.into()));
                    }
                },
                SnapshotLookup::Vacant(vacancy) => {
                    check_free_space(plan, vacancy.files().directory())
                        .map_err(|reason| WarmStartError::Cold(ColdReason::NoSnapshot(reason)))?;
                    let builder = SnapshotBuilder {
                        plan,
                        key,
                        host,
                        directory: context.directory,
                        relay: context.relay,
                        supervisor: context.supervisor,
                        boot_limit: self.boot_limit,
                        answer_limit: ANSWER.mul_f64(self.factor),
                    };
                    let snapshot = builder.build(vacancy).await.map_err(|error| match error {
                        SnapshotError::Start(error) => WarmStartError::Fatal(error.into()),
                        SnapshotError::Fault(fault) => WarmStartError::Fatal(fault.into()),
                        error => no_snapshot(&error),
                    })?;
                    self.trim();
                    let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                    return Ok((snapshot, Some(took)));
                }
            }
        }
    }

    /// Removes snapshots beyond the limit.
    fn trim(&self) {
        match self.snapshots.trim() {
            Ok(removed) => {
                for entry in removed {
                    tracing::debug!(key = entry.key, size = entry.size, "removed a snapshot");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot remove snapshots beyond the limit"),
        }
    }
}

/// Whether the failure of a restored machine may be due to its snapshot. If it is due to the host, the cold
/// start fails as well and reports it.
fn may_be_damage(error: &StartError) -> bool {
    matches!(
        error,
        StartError::NoCopy { .. }
            | StartError::Restore(_)
            | StartError::Exited { .. }
            | StartError::File(_)
            | StartError::Overlay(_)
            | StartError::Qmp(_)
    )
}

fn no_snapshot(error: &dyn std::error::Error) -> WarmStartError {
    WarmStartError::Cold(ColdReason::NoSnapshot(on_one_line(error)))
}

/// Why a machine must be booted whatever the host supports; `required` is what its scenario says.
fn cold_reason(plan: &MachinePlan, required: bool) -> Option<ColdReason> {
    if required {
        return Some(ColdReason::Scenario);
    }
    plan.peer_address.map(|_| ColdReason::Peers)
}

/// What keys take from this host, or why it cannot make snapshots.
fn snapshot_host(architecture: Architecture, store: &Store) -> Result<SnapshotHost, String> {
    let emulator = Emulator::find(architecture).map_err(|error| error.to_string())?;
    let capabilities = QemuCapabilities::of(&emulator, store).map_err(|error| on_one_line(&error))?;
    let mode = capabilities.snapshot_mode(emulator.version())?;
    let alias = match architecture {
        Architecture::Amd64 => "q35",
        Architecture::Arm64 => "virt",
    };
    let machine_type = capabilities
        .machine_type(alias)
        .ok_or_else(|| format!("QEMU does not report the version of its machine type `{alias}`"))?;
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Ok(SnapshotHost {
        emulator: emulator.identity(),
        machine_type: machine_type.to_owned(),
        mode,
        processor: host_processor(&cpuinfo),
    })
}

/// Checks that the host's disk has room for a machine's memory.
fn check_free_space(plan: &MachinePlan, directory: &Utf8Path) -> Result<(), String> {
    let disk = rustix::fs::statvfs(directory.as_std_path())
        .map_err(|error| format!("cannot read the free space of `{directory}`: {error}"))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = (u64::from(plan.spec.memory_mib) << 20) + RESERVE;
    if free < needed {
        return Err(format!("it may need {} MiB of disk, and {} MiB are free", needed >> 20, free >> 20));
    }
    Ok(())
}
