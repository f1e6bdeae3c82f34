// SPDX-License-Identifier: Apache-2.0
//! The registry of running processes and their machines.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// A running process of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildRecord {
    /// its ID and that of its process group
    pub pid: u32,
    /// the program: `qemu` or `swtpm`
    pub program: &'static str,
    /// the machine's name
    pub machine: String,
}

/// The running processes of all machines of a [`Supervisor`](crate::machine::Supervisor). A process is
/// registered when it is started, until it has been waited for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Children {
    records: Arc<Mutex<BTreeMap<u32, ChildRecord>>>,
}

/// An entry in the registry. Dropping it removes the entry.
#[derive(Debug)]
pub(crate) struct Registration {
    children: Children,
    pid: u32,
}

impl Children {
    /// Registers a process.
    pub(crate) fn register(&self, pid: u32, program: &'static str, machine: &str) -> Registration {
        let record = ChildRecord { pid, program, machine: machine.to_owned() };
        self.lock().insert(pid, record);
        Registration { children: self.clone(), pid }
    }

    /// All registered processes.
    pub(crate) fn all(&self) -> Vec<ChildRecord> {
        self.lock().values().cloned().collect()
    }

    /// Kills the processes that are left: the tasks that own them have ended without stopping them.
    pub(crate) fn kill(&self) {
        for (pid, record) in std::mem::take(&mut *self.lock()) {
            tracing::error!(pid, record.program, record.machine, "a process was not stopped: SIGKILL");
            if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have exited meanwhile.
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, ChildRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.children.lock().remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use super::*;

    #[test]
    fn a_process_is_registered_until_its_registration_is_dropped() {
        let children = Children::default();
        let registration = children.register(7, "qemu", "docker");
        assert_eq!(children.all().len(), 1);
        drop(registration);
        assert!(children.all().is_empty());
    }

    #[test]
    fn remaining_processes_are_killed() {
        let mut left =
            std::process::Command::new("sleep").arg("60").process_group(0).spawn().expect("started");
        let children = Children::default();
        let registration = children.register(left.id(), "qemu", "docker");
        children.kill();
        assert!(!left.wait().expect("ended").success());
        drop(registration);
    }
}
