// SPDX-License-Identifier: Apache-2.0
//! Which processes a harness has at the moment, and for which machine.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// A process that belongs to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildRecord {
    /// its id, and that of its process group
    pub pid: u32,
    /// the program: `qemu` or `swtpm`
    pub program: &'static str,
    /// the machine's name
    pub machine: String,
}

/// The processes of all machines of a [`Supervisor`](crate::machine::Supervisor). Each is entered when it is
/// started and struck out when it has been waited for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Children {
    records: Arc<Mutex<BTreeMap<u32, ChildRecord>>>,
}

/// A line in the registry, which is struck out when it is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    children: Children,
    pid: u32,
}

impl Children {
    /// Enters a process.
    pub(crate) fn enter(&self, pid: u32, program: &'static str, machine: &str) -> Entered {
        let record = ChildRecord { pid, program, machine: machine.to_owned() };
        self.lock().insert(pid, record);
        Entered { children: self.clone(), pid }
    }

    /// Those that run.
    pub(crate) fn all(&self) -> Vec<ChildRecord> {
        self.lock().values().cloned().collect()
    }

    /// Kills whatever is left: the last resort, where the one who should have waited for it is gone.
    pub(crate) fn kill(&self) {
        for (pid, record) in std::mem::take(&mut *self.lock()) {
            tracing::error!(pid, record.program, record.machine, "a process is left: SIGKILL");
            if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have ended by itself in the meantime.
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, ChildRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.children.lock().remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use super::*;

    #[test]
    fn a_process_is_there_until_its_line_is_dropped() {
        let children = Children::default();
        let entered = children.enter(7, "qemu", "docker");
        assert_eq!(children.all().len(), 1);
        drop(entered);
        assert!(children.all().is_empty());
    }

    #[test]
    fn what_is_left_is_killed() {
        let mut left =
            std::process::Command::new("sleep").arg("60").process_group(0).spawn().expect("started");
        let children = Children::default();
        let entered = children.enter(left.id(), "qemu", "docker");
        children.kill();
        assert!(!left.wait().expect("ended").success());
        drop(entered);
    }
}
