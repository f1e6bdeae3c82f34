// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use camino::Utf8Path;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Event, EventKind};
use crate::check::Finding;
use crate::machine::{Fault, StartReport};

/// What starts the machines of a run. The seam between the order of things, which is the runner's,
/// and QEMU and SSH; behind it, tests put machines that follow a script.
pub trait MachineProvider: Send + Sync + 'static {
    /// What a guest can be asked.
    type Check: Send + Sync + 'static;
    /// A machine of this provider.
    type TestMachine: TestMachine<Check = Self::Check>;

    /// Powers the machines of a scenario on, and gives them in its order; several can reach each other.
    /// Their files are written into `directory`, which is made where it does not exist: those of the only
    /// machine there, those of several into directories of their names.
    ///
    /// Dropping the future ends whatever was started.
    ///
    /// # Errors
    /// One does not start; then none runs on. The number says which.
    fn start(
        &self,
        scenario: &str,
        directory: &Utf8Path,
    ) -> impl Future<Output = Result<Vec<Self::TestMachine>, (usize, StartFailure)>> + Send;
}

/// A running machine and the guest in it.
///
/// Dropping one kills its machine; every future may be dropped half-way.
pub trait TestMachine: Send + Sync + Sized + 'static {
    /// What the guest can be asked.
    type Check;

    /// Waits until the guest says that it is up, in another boot than `after`.
    fn up(&self, after: Option<&str>, limit: Duration) -> impl Future<Output = Result<Up, Fault>> + Send;

    /// Waits for the machine to die, for ever if it does not.
    fn fault(&self) -> impl Future<Output = Fault> + Send;

    /// Connects to the guest, or again after a reboot.
    fn connect(&self, limit: Duration) -> impl Future<Output = Result<(), StartFailure>> + Send;

    /// Asks the guest, again and again for as long as `within` says, and gives the last finding
    /// with the number of attempts. A question that cannot be asked is a broken finding.
    fn judge(
        &self,
        check: &Self::Check,
        within: Option<Duration>,
    ) -> impl Future<Output = (Finding, u32)> + Send;

    /// Orders the guest to reboot. That the connection ends over it is no error.
    fn reboot(&self) -> impl Future<Output = Result<(), StartFailure>> + Send;

    /// The boot id, as the guest's kernel says it over the connection.
    fn boot_id(&self) -> impl Future<Output = Result<String, StartFailure>> + Send;

    /// The last lines of the console.
    fn console_tail(&self) -> Vec<String>;

    /// Stops the machine and returns when nothing is left of it and its files are complete.
    fn stop(self) -> impl Future<Output = ()> + Send;

    /// Leaves the machine running, under a name like `name`, and says how to get into its guest.
    ///
    /// # Errors
    /// It cannot be left running, and was stopped.
    fn keep(self, name: &str) -> impl Future<Output = Result<SshAccess, StartFailure>> + Send;
}

/// How to get into a guest whose machine is left running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAccess {
    /// what `loadgauge stop` knows the machine by
    pub name: String,
    /// the command line that leads in
    pub ssh: String,
}

/// A guest that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Up {
    /// of this boot
    pub boot_id: String,
    /// what `systemctl is-system-running` said
    pub state: String,
    /// from power-on, from the guest's last reset, or from the order to restore it
    pub since: Duration,
    /// how the machine came to run; nothing after a reboot
    pub started: Option<StartReport>,
}

/// Why a scenario cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFailure {
    /// the machine died
    Fault(Fault),
    /// the host, the harness or the connection does not do what it should
    Other {
        /// one line
        message: String,
        /// what to do about it
        hint: Option<String>,
    },
}

impl StartFailure {
    /// StartFailure without advice.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::Other { message: message.into(), hint: None }
    }
}

impl From<Fault> for StartFailure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Where events are put. Clones put them into the same channel.
#[derive(Debug, Clone)]
pub struct Events {
    sender: UnboundedSender<Event>,
}

impl Events {
    /// A channel for events. Its receiver ends when the last clone of the sender is dropped.
    pub fn channel() -> (Self, UnboundedReceiver<Event>) {
        let (sender, receiver) = unbounded_channel();
        (Self { sender }, receiver)
    }

    /// Puts an event of this moment.
    pub fn emit(&self, kind: EventKind) {
        if let Err(lost) = self.sender.send(Event::now(kind)) {
            // Whoever awaits the reports hears that they ended too early, and why.
            tracing::error!(event = ?lost.0.kind, "nobody takes the events any more");
        }
    }
}
