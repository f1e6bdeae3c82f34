// SPDX-License-Identifier: Apache-2.0
//! Starts a bare QEMU with the arguments of a machine, and measures the time until the guest is ready.
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use loadgauge::machine::{Emulator, Layout, Machine, MachinePlan, arguments, complete_config};
use loadgauge_host::{CommandExt as _, Tool};
use ssh_key::PrivateKey;

use crate::Result;

/// A QEMU process that is killed when dropped.
struct Bare(Child);

impl Drop for Bare {
    fn drop(&mut self) {
        // The call fails if QEMU has already exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the seconds from the start of QEMU to the guest's report that it is up.
///
/// The time to create the disk and the config does not count.
pub(crate) fn boot(
    plan: &MachinePlan,
    key: &PrivateKey,
    directory: &Utf8Path,
    relay: &Utf8Path,
) -> Result<f64> {
    let layout = Layout::new(directory.join("records"), directory.join("run"), relay);
    fs::create_dir_all(layout.records())?;
    fs::create_dir_all(layout.runtime())?;
    let config = complete_config(&plan.config, &key.public_key().to_openssh()?)?.to_json();
    fs::write(layout.ignition(), config)?;
    let mut disk = Tool::find("qemu-img")?.command();
    disk.args(["create", "-q", "-f", "qcow2", "-F", plan.image.format.name(), "-b"]);
    disk.arg(&plan.image.disk).arg(layout.overlay());
    disk.run()?;
    let [monitor, console, events, journal] =
        [layout.qmp_socket(), layout.console_socket(), layout.events_socket(), layout.journal_socket()]
            .map(UnixListener::bind);
    let (monitor, console, events, journal) = (monitor?, console?, events?, journal?);
    let emulator = Emulator::find(plan.architecture())?;
    let mut command = Command::new(emulator.path());
    command.args(arguments(plan, &layout)).stdin(Stdio::null()).stdout(Stdio::null());

    let begun = Instant::now();
    let _bare = Bare(command.spawn()?);
    let mut monitor = monitor.accept()?.0;
    record(monitor.try_clone()?, layout.records().join("monitor.log"));
    record(console.accept()?.0, layout.console_log());
    let events = events.accept()?.0;
    record(journal.accept()?.0, layout.journal_log());
    monitor.write_all(b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"cont\"}\n")?;
    events.set_read_timeout(Some(Duration::from_mins(15)))?;
    for line in BufReader::new(events).lines() {
        if line?.starts_with("ready ") {
            return Ok(begun.elapsed().as_secs_f64());
        }
    }
    Err("the bare QEMU exited before its guest was ready".into())
}

/// Copies a stream to a file until its end, because the guest waits if nothing reads.
fn record(mut stream: UnixStream, path: impl AsRef<std::path::Path> + Send + 'static) {
    thread::spawn(move || File::create(path).and_then(|mut file| io::copy(&mut stream, &mut file)));
}

/// Returns the proportional set size of a machine in MiB (proc_pid_smaps(5)).
pub(crate) fn memory(machine: &Machine) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", machine.pid()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no `Pss:`")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
