// SPDX-License-Identifier: Apache-2.0
use std::error::Error;
use std::time::Duration;

use camino::Utf8Path;
use loadgauge_host::Hint;
use loadgauge_host::error::on_one_line;

use super::ScenarioId;
use crate::check::Finding;
use crate::machine::{Fault, HostShare, StartReport};

/// Starts the machines of a run. The runner knows machines through this trait alone, so that its tests
/// replace QEMU and SSH by scripted machines.
pub trait MachineProvider: Send + Sync + 'static {
    /// What a step can do in a guest.
    type Operation: Send + Sync + 'static;
    /// A machine of this provider.
    type TestMachine: TestMachine<Operation = Self::Operation>;

    /// Starts the machines of a scenario, which can reach each other, and returns them in the order of
    /// the scenario. `directory` is created if necessary; it contains the files of a single machine, or a
    /// directory for each of several.
    ///
    /// Dropping the future stops what was started.
    ///
    /// # Errors
    /// A machine does not start; the number says which one. The others are stopped.
    fn start(
        &self,
        scenario: &ScenarioId,
        directory: &Utf8Path,
    ) -> impl Future<Output = Result<Vec<Self::TestMachine>, (usize, StartFailure)>> + Send;
}

/// A running machine and its guest.
///
/// Dropping it kills the machine. Every future can be dropped before it is done.
pub trait TestMachine: Send + Sync + Sized + 'static {
    /// What a step can do in the guest.
    type Operation;

    /// Waits until the guest reports that it is ready, in another boot than `after`.
    fn wait_until_ready(
        &self,
        after: Option<&str>,
        limit: Duration,
    ) -> impl Future<Output = Result<GuestReady, Fault>> + Send;

    /// Waits until the machine dies.
    fn fault(&self) -> impl Future<Output = Fault> + Send;

    /// Connects to the guest, also again after a reboot.
    fn connect(&self, limit: Duration) -> impl Future<Output = Result<(), StartFailure>> + Send;

    /// Does an operation, and repeats it within `within` until it passes. Returns the last finding and
    /// the number of tries. If the operation cannot be done, the finding is broken.
    fn execute(
        &self,
        operation: &Self::Operation,
        within: Option<Duration>,
    ) -> impl Future<Output = (Finding, u32)> + Send;

    /// Orders the guest to reboot. The end of the connection is not an error.
    fn reboot(&self) -> impl Future<Output = Result<(), StartFailure>> + Send;

    /// Reads the boot id over the connection.
    fn boot_id(&self) -> impl Future<Output = Result<String, StartFailure>> + Send;

    /// How much of about the last minute the machine waited for a processor of the host.
    fn host_share(&self) -> HostShare;

    /// The last lines of the console.
    fn console_tail(&self) -> Vec<String>;

    /// Stops the machine. Its files are complete when the future is done.
    fn stop(self) -> impl Future<Output = ()> + Send;

    /// Leaves the machine running, under `name` or a similar free name.
    ///
    /// # Errors
    /// The machine cannot be left running, and was stopped.
    fn keep(self, name: &str) -> impl Future<Output = Result<SshAccess, StartFailure>> + Send;
}

/// How to reach a guest whose machine was left running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAccess {
    /// name for `loadgauge stop`
    pub name: String,
    /// command line that opens a shell in the guest
    pub ssh: String,
}

/// The report of a guest that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestReady {
    /// id of this boot
    pub boot_id: String,
    /// output of `systemctl is-system-running`
    pub state: String,
    /// time since power-on, the reset of a reboot, or the order to restore the machine
    pub since: Duration,
    /// cold or warm start; absent after a reboot
    pub started: Option<StartReport>,
}

/// A machine cannot be used any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFailure {
    /// the machine died
    Fault(Fault),
    /// the host, the harness or the connection failed
    Other {
        /// one line
        message: String,
        /// what the user can do
        hint: Option<String>,
    },
}

impl StartFailure {
    /// The failure that an error leads to.
    pub fn of(error: &(impl Error + Hint)) -> Self {
        Self::Other { message: on_one_line(error), hint: error.hint() }
    }

    /// A failure without a hint.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::Other { message: message.into(), hint: None }
    }
}

impl From<Fault> for StartFailure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
