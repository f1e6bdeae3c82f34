// SPDX-License-Identifier: Apache-2.0
//! A bare QEMU with the arguments of a machine, timed to the event at which a machine is ready.
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

/// A QEMU that is killed at the end of the measurement.
struct Bare(Child);

impl Drop for Bare {
    fn drop(&mut self) {
        // An error means that it has exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The seconds from the start of QEMU to the guest's report that it is up. The disk and the config are
/// created before.
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

/// Reads to the end, because the guest waits if nothing reads.
fn record(mut stream: UnixStream, path: impl AsRef<std::path::Path> + Send + 'static) {
    thread::spawn(move || File::create(path).and_then(|mut file| io::copy(&mut stream, &mut file)));
}

/// The proportional set size of a machine in MiB (proc_pid_smaps(5)).
pub(crate) fn memory(machine: &Machine) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", machine.pid()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no `Pss:`")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
