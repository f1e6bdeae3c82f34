// SPDX-License-Identifier: Apache-2.0
//! What is done from outside to the machine of a scenario that runs, and to no other.
use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use camino::Utf8Path;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::guest_run::processes_with;

/// What can be done to a machine.
#[derive(Debug, Clone, Copy)]
pub enum Injection {
    /// QEMU's process gets a signal
    Signal(&'static str),
    /// QEMU is told something on its monitor
    Monitor(&'static str),
}

impl Injection {
    /// Does it to the machine whose records are kept in `directory`, of the harness with this process id.
    pub fn inject(self, directory: &Utf8Path, harness: u32) {
        match self {
            Self::Signal(name) => {
                let pid = qemu(directory).to_string();
                let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
                assert!(sent.success());
            }
            Self::Monitor(line) => {
                // Without an id, so that the answer is nobody's.
                let mut monitor = monitor(qemu(directory), harness);
                monitor.write_all(format!("{line}\n").as_bytes()).expect("written");
            }
        }
    }
}

/// The one QEMU that has a file of this directory.
fn qemu(directory: &Utf8Path) -> u32 {
    let all = processes_with(&format!("file={directory}/"));
    let [pid] = all.as_slice() else { panic!("{all:?} work on `{directory}`") };
    *pid
}

/// The harness's connection to the monitor of a QEMU: there is no second one, since the harness removes
/// the socket once QEMU has connected.
fn monitor(qemu: u32, harness: u32) -> UnixStream {
    let words = fs::read_to_string(format!("/proc/{qemu}/cmdline")).expect("QEMU's arguments");
    let path = words.split('\0').find_map(|word| word.strip_prefix("socket,id=qmp,path="));
    let path = path.expect("QEMU has a monitor");
    // The last fields of a line are the inode and the path (proc_pid_net(5)); the harness's end has the
    // path of the socket that it accepted the connection on.
    let sockets = fs::read_to_string(format!("/proc/{harness}/net/unix")).expect("the sockets");
    let inodes: Vec<String> = sockets
        .lines()
        .filter_map(|line| line.strip_suffix(path)?.split_whitespace().last())
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let descriptors = fs::read_dir(format!("/proc/{harness}/fd")).expect("the harness's files").flatten();
    let ours = descriptors.into_iter().find(|entry| {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        inodes.iter().any(|inode| target.as_os_str() == inode.as_str())
    });
    let ours = ours.unwrap_or_else(|| panic!("no file of the harness is `{path}`: {inodes:?}"));
    let number = ours.file_name().to_str().and_then(|name| name.parse().ok()).expect("a number");
    let process = Pid::from_raw(harness.cast_signed()).expect("a process");
    let process = pidfd_open(process, PidfdFlags::empty()).expect("the harness lives");
    let descriptor = pidfd_getfd(process, number, PidfdGetfdFlags::empty());
    descriptor.expect("the harness is a child of this process").into()
}
