// SPDX-License-Identifier: Apache-2.0
//! Boots a machine to make a snapshot of it.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};

use super::key::{Host, SnapshotKey};
use super::migration::{self, MigrateError};
use super::snapshot::{Snapshot, host_boot, seconds};
use super::snapshots::{Held, Vacancy};
use crate::guest::{Command, Guest, GuestError};
use crate::machine::directory::{FileError, at};
use crate::machine::events::{Answer, Ready};
use crate::machine::health::fault::Fault;
use crate::machine::machine::Machine;
use crate::machine::machine::fresh_key;
use crate::machine::plan::MachinePlan;
use crate::machine::qemu::capabilities::SnapshotMode;
use crate::machine::qemu::memory::{Backing, Memory};
use crate::machine::qemu::qmp::QmpError;
use crate::machine::start::StartError;
use crate::machine::start_mode::StartMode;
use crate::machine::supervisor::Supervisor;
use crate::machine::units::USER;

/// No snapshot can be made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// its machine cannot be started
    #[error(transparent)]
    Start(#[from] StartError),
    /// its machine cannot go on
    #[error(transparent)]
    Fault(#[from] Fault),
    /// its guest does something else than it was ordered
    #[error("the guest does not take orders: {found}")]
    Disobedient {
        /// what it says
        found: String,
    },
    /// QEMU cannot be told to stop it
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// QEMU cannot save it
    #[error(transparent)]
    Save(#[from] MigrateError),
    /// its guest cannot be asked anything
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// a file cannot be kept
    #[error(transparent)]
    File(#[from] FileError),
}

/// What checks and sweeps run.
const WARM_UP: &str = "systemctl list-units --state=failed; systemctl show -p Id sshd.socket; \
    systemd-sysext status --json=short; journalctl -b -n 1 -o cat; \
    sort /proc/self/mountinfo | grep -c / | sed p | cut -c1; stat /; cat /proc/uptime";
/// By how much that may take longer than an answer to an order.
const WARMING: u32 = 6;

/// What a snapshot is made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SnapshotBuilder<'a> {
    pub(crate) plan: &'a MachinePlan,
    pub(crate) key: &'a SnapshotKey,
    pub(crate) host: &'a Host,
    /// where the records of the machine are kept
    pub(crate) directory: &'a Utf8Path,
    pub(crate) relay: &'a Utf8Path,
    pub(crate) supervisor: &'a Supervisor,
    /// for the guest to be ready
    pub(crate) boot: Duration,
    /// for the guest to answer
    pub(crate) answer: Duration,
}

impl SnapshotBuilder<'_> {
    /// Boots the machine, has it remember a word, stops it where it stands, and keeps it.
    ///
    /// Nobody can log in to what is kept: the key that lets this machine's owner in is thrown away with
    /// it, and each copy gets one of its own. So no secret lies in the store that opens anything.
    ///
    /// # Errors
    /// The guest does not come up, or the host is in the mode. Nothing is left behind.
    pub(crate) async fn found(self, vacancy: Vacancy) -> Result<Arc<Held>, SnapshotError> {
        let files = vacancy.files.clone();
        let layout = self.supervisor.layout(self.directory, self.relay).with_state(files.directory());
        let key = fresh_key().map_err(StartError::Key)?;
        let public_key = key.public_key().to_openssh().map_err(StartError::Key)?;
        let file = (self.host.mode == SnapshotMode::Shared).then(|| files.memory());
        let memory = Memory::Kept(Backing { machine: self.host.machine.clone(), file });
        let beginning = StartMode::PowerOn { public_key: &public_key, memory };
        let machine =
            Machine::begin(self.plan.clone(), layout.clone(), key, &beginning, self.supervisor).await?;
        let ready = machine.ready(None, self.boot).await?;
        tokio::select! {
            fault = machine.fault() => return Err(fault.into()),
            warmed = self.warm_up(&machine) => warmed?,
        }
        let nonce = nonce();
        match machine.order(&format!("hold {nonce}"), self.answer).await? {
            Answer::Holding { nonce: held } if held == nonce => {}
            other => return Err(SnapshotError::Disobedient { found: format!("{other:?}") }),
        }
        machine.qmp().execute("stop", None).await?;
        migration::save(machine.qmp(), self.host.mode, &files.state()).await?;
        machine.stop().await;
        for (from, to) in [
            (layout.ignition(), files.config()),
            (layout.console_log(), files.console()),
            (layout.journal_log(), files.journal()),
        ] {
            keep(&from, to)?;
        }
        Ok(vacancy.commit(self.describe(nonce, ready))?)
    }

    /// Logs in once and asks what checks ask, so that each copy finds the programs for it in memory, and
    /// need not read them from the disk again.
    async fn warm_up(&self, machine: &Machine) -> Result<(), GuestError> {
        let limit = self.answer * WARMING;
        let guest = Guest::connect(machine.ssh_address(), USER, machine.key(), limit).await?;
        guest.run(Command::as_root(WARM_UP).with_timeout(limit)).await?;
        guest.close().await;
        Ok(())
    }

    fn describe(&self, nonce: String, ready: Ready) -> Snapshot {
        let image = &self.plan.image.facts.os_release;
        Snapshot {
            key: self.key.parts().clone(),
            image: image.get("PRETTY_NAME").or(image.get("NAME")).unwrap_or_default().to_owned(),
            memory_mib: self.plan.spec.memory_mib,
            machine: self.host.machine.clone(),
            mode: self.host.mode,
            nonce,
            boot_id: ready.boot_id,
            state: ready.state,
            boot_ms: u64::try_from(ready.since.as_millis()).unwrap_or(u64::MAX),
            made: seconds(SystemTime::now()),
            host_boot: host_boot(),
        }
    }
}

fn keep(from: &Utf8Path, to: Utf8PathBuf) -> Result<(), FileError> {
    std::fs::copy(from, &to).map_err(at("write", to))?;
    Ok(())
}

/// A word that nobody can guess and no other snapshot has.
fn nonce() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
