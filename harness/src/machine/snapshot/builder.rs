// SPDX-License-Identifier: Apache-2.0
//! Boots a machine and makes a snapshot of it.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use camino::Utf8Path;
use loadgauge_host::{FileError, StoreError, fs};

use super::key::{SnapshotHost, SnapshotKey};
use super::migration::{self, MigrateError};
use super::snapshot::{Snapshot, host_boot, seconds};
use super::snapshots::{SnapshotInUse, SnapshotVacancy};
use crate::guest::{Command, Guest, GuestError};
use crate::machine::events::{Answer, Ready};
use crate::machine::guest_config::USER;
use crate::machine::health::fault::Fault;
use crate::machine::machine::{Machine, generate_key};
use crate::machine::plan::MachinePlan;
use crate::machine::private_file;
use crate::machine::qemu::capabilities::SnapshotMode;
use crate::machine::qemu::memory::{MemoryBacking, MemoryMode};
use crate::machine::qemu::qmp::QmpError;
use crate::machine::start_error::StartError;
use crate::machine::start_mode::StartMode;
use crate::machine::supervisor::Supervisor;

/// A snapshot cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// the machine cannot be started
    #[error(transparent)]
    Start(#[from] StartError),
    /// the machine has a fault
    #[error(transparent)]
    Fault(#[from] Fault),
    /// the guest does not store the nonce
    #[error("unexpected answer of the guest: {found}")]
    Answer {
        /// the answer
        found: String,
    },
    /// the guest cannot be paused
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// the machine cannot be saved
    #[error(transparent)]
    Save(#[from] MigrateError),
    /// the guest does not run commands
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// the store cannot be used
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The programs that checks and sweeps run.
const WARM_UP: &str = "systemctl list-units --state=failed; systemctl show -p Id sshd.socket; \
    systemd-sysext status --json=short; journalctl -b -n 1 -o cat; \
    sort /proc/self/mountinfo | grep -c / | sed p | cut -c1; stat /; cat /proc/uptime";
/// The limit of the warm-up, as a multiple of that of an answer.
const WARM_UP_FACTOR: u32 = 6;

/// The inputs of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SnapshotBuilder<'a> {
    pub(crate) plan: &'a MachinePlan,
    pub(crate) key: &'a SnapshotKey,
    pub(crate) host: &'a SnapshotHost,
    /// the directory of the machine's records
    pub(crate) directory: &'a Utf8Path,
    pub(crate) relay: &'a Utf8Path,
    pub(crate) supervisor: &'a Supervisor,
    /// the time for the guest to boot
    pub(crate) boot_limit: Duration,
    /// the time for the guest to answer a request
    pub(crate) answer_limit: Duration,
}

impl SnapshotBuilder<'_> {
    /// Boots the machine, stores a nonce in the guest's memory, pauses the guest, and saves it.
    ///
    /// The store contains no usable secret: the SSH key of this machine is discarded, and each copy gets a
    /// key of its own.
    ///
    /// # Errors
    /// The guest does not come up, or the host prevents the snapshot. Nothing is left behind.
    pub(crate) async fn build(self, vacancy: SnapshotVacancy) -> Result<Arc<SnapshotInUse>, SnapshotError> {
        let files = vacancy.files();
        let layout = self.supervisor.layout(self.directory, self.relay).with_state(files.directory());
        let key = generate_key().map_err(StartError::Key)?;
        let public_key = key.public_key().to_openssh().map_err(StartError::Key)?;
        let file = (self.host.mode == SnapshotMode::Shared).then(|| files.memory());
        // QEMU keeps the mode of files that exist; it would create these for everybody to read.
        for secret in file.iter().chain([&files.state()]) {
            private_file::create(secret)?;
        }
        let memory = MemoryMode::Saved(MemoryBacking { machine_type: self.host.machine_type.clone(), file });
        let mode = StartMode::PowerOn { public_key: &public_key, memory };
        let machine =
            Machine::start_from(self.plan.clone(), layout.clone(), key, &mode, self.supervisor).await?;
        let ready = machine.ready(None, self.boot_limit).await?;
        tokio::select! {
            fault = machine.fault() => return Err(fault.into()),
            warmed = self.warm_up(&machine) => warmed?,
        }
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        match machine.request(&format!("hold {nonce}"), self.answer_limit).await? {
            Answer::NonceStored { nonce: stored } if stored == nonce => {}
            other => return Err(SnapshotError::Answer { found: format!("{other:?}") }),
        }
        machine.qmp().execute("stop", None).await?;
        migration::save(machine.qmp(), self.host.mode, &files.state()).await?;
        machine.stop().await;
        fs::copy(layout.ignition(), files.config())?;
        fs::copy(layout.console_log(), files.console())?;
        fs::copy(layout.journal_log(), files.journal())?;
        Ok(vacancy.commit(self.describe(nonce, ready))?)
    }

    /// Logs in and runs the programs of checks, so that each copy has them in its page cache.
    async fn warm_up(&self, machine: &Machine) -> Result<(), GuestError> {
        let limit = self.answer_limit * WARM_UP_FACTOR;
        let guest = Guest::connect(machine.ssh_address(), USER, machine.key(), limit).await?;
        guest.run(Command::as_root(WARM_UP).with_timeout(limit)).await?;
        guest.close().await;
        Ok(())
    }

    /// The description; its parts are added when the snapshot is complete.
    fn describe(&self, nonce: String, ready: Ready) -> Snapshot {
        let image = &self.plan.image.facts.os_release;
        Snapshot {
            key: self.key.parts().clone(),
            image: image.get("PRETTY_NAME").or(image.get("NAME")).unwrap_or_default().to_owned(),
            memory_mib: self.plan.spec.memory_mib,
            machine_type: self.host.machine_type.clone(),
            mode: self.host.mode,
            nonce,
            boot_id: ready.boot_id,
            state: ready.state,
            boot_ms: u64::try_from(ready.since.as_millis()).unwrap_or(u64::MAX),
            made: seconds(SystemTime::now()),
            host_boot: host_boot(),
            parts: BTreeMap::new(),
        }
    }
}
