// SPDX-License-Identifier: Apache-2.0
//! Machines without an image: real QEMU processes that boot a boot sector.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod matrix;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge::machine::{
    BootAction, DiskSpec, Fault, Firmware, FirmwareChoice, Machine, MachinePlan, StartError, StopMethod,
    Supervisor, boot_disk,
};
use matrix::plan;

/// The limit of every fault; on a busy host, QEMU's start takes most of it.
const SOON: Duration = Duration::from_secs(20);

struct Bench {
    _directory: tempfile::TempDir,
    root: Utf8PathBuf,
    supervisor: Supervisor,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        Self { _directory: directory, root, supervisor: Supervisor::new().expect("a supervisor") }
    }

    async fn boot(&self, name: &str, text: &str, action: BootAction) -> Machine {
        let disk = self.root.join(format!("{name}.img"));
        boot_disk(&disk, text, action).expect("a disk");
        self.start(plan(name, &disk)).await.expect("started")
    }

    async fn start(&self, plan: MachinePlan) -> Result<Machine, StartError> {
        let records = self.root.join(&plan.name);
        Machine::start(plan, records, env!("CARGO_BIN_EXE_loadgauge").into(), &self.supervisor).await
    }
}

async fn fault(machine: &Machine) -> Fault {
    tokio::time::timeout(SOON, machine.fault()).await.expect("a fault, and soon")
}

/// Waits for a line of the console.
async fn line(machine: &Machine, wanted: &str) {
    let begun = Instant::now();
    while !machine.console_tail(50).iter().any(|line| line == wanted) {
        assert!(begun.elapsed() < SOON, "no `{wanted}` but {:?}", machine.console_tail(50));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn alive(pid: u32) -> bool {
    // A zombie has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_recorded_from_its_first_byte_and_a_stop_leaves_nothing() {
    let bench = Bench::new();
    let machine = bench.boot("hello", "one\r\ntwo\r\n", BootAction::Idle).await;
    line(&machine, "two").await;
    let (layout, pid) = (machine.layout().clone(), machine.pid());
    assert!(alive(pid) && layout.overlay().exists());
    let stopped = machine.stop().await;
    assert_eq!((stopped.method, stopped.status.as_str()), (StopMethod::Quit, "exit status: 0"));
    assert!(!alive(pid) && !layout.runtime().exists());
    let console = std::fs::read_to_string(layout.console_log()).expect("recorded");
    assert!(console.ends_with("one\r\ntwo\r\n"), "{console:?}");
    let config = std::fs::read_to_string(layout.ignition()).expect("recorded");
    assert!(config.contains("ssh-ed25519") && config.contains("update-engine.service"), "{config}");
    assert!(std::fs::read_to_string(layout.command_line()).expect("recorded").contains("qemu-system-x86_64"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_reported_with_its_line() {
    let bench = Bench::new();
    let text = "[ 0.1] loading\n[ 0.2] Kernel panic - not syncing: test\n[ 0.3] Call Trace:\n";
    let machine = bench.boot("panic", text, BootAction::Idle).await;
    let begun = Instant::now();
    // A wait for readiness ends with the fault, and not at the limit.
    let fault = machine.ready(None, SOON).await.expect_err("it panicked");
    let Fault::Panic { line, console } = fault else { panic!("{fault:?}") };
    assert_eq!(line, "[ 0.2] Kernel panic - not syncing: test");
    assert!(console.iter().any(|line| line.contains("Call Trace")), "{console:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_that_resets_the_guest_is_reported() {
    let bench = Bench::new();
    let machine = bench.boot("reset", "Kernel panic - not syncing: again\n", BootAction::Reset).await;
    assert!(matches!(fault(&machine).await, Fault::Panic { .. }));
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_powers_off_is_reported() {
    let bench = Bench::new();
    let machine = bench.boot("off", "bye\n", BootAction::PowerOff).await;
    assert_eq!(fault(&machine).await, Fault::PoweredOff);
    assert_eq!(machine.stop().await.method, StopMethod::Quit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_that_is_killed_is_reported() {
    let bench = Bench::new();
    let machine = bench.boot("killed", "hello\n", BootAction::Idle).await;
    line(&machine, "hello").await;
    let pid = rustix::process::Pid::from_raw(machine.pid().cast_signed()).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let Fault::Exited { status, .. } = fault(&machine).await else { panic!("another fault") };
    assert!(status.contains("signal: 9"), "{status}");
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_readiness_ends_at_the_limit() {
    let bench = Bench::new();
    let machine = bench.boot("silent", "still here\n", BootAction::Idle).await;
    line(&machine, "still here").await;
    let fault = machine.ready(None, Duration::from_millis(100)).await.expect_err("never ready");
    assert!(fault.console().contains(&"still here".to_owned()), "{fault:?}");
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_machines_share_nothing_and_all_are_stopped() {
    let bench = Bench::new();
    let (one, two) = tokio::join!(
        bench.boot("one", "one\n", BootAction::Idle),
        bench.boot("two", "two\n", BootAction::Idle)
    );
    assert_ne!(one.ssh_address(), two.ssh_address());
    assert_ne!(one.key().public_key(), two.key().public_key());
    for machine in [&one, &two] {
        std::net::TcpStream::connect(machine.ssh_address()).expect("QEMU listens");
    }
    let (pids, layout) = ([one.pid(), two.pid()], one.layout().clone());
    drop(two);
    bench.supervisor.stop_all().await;
    assert!(!pids.into_iter().any(alive) && !layout.runtime().exists());
    let disk = bench.root.join("one.img");
    let late = bench.start(plan("late", &disk)).await;
    assert!(matches!(late, Err(StartError::Cancelled)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_named_and_nothing_is_left() {
    let bench = Bench::new();
    let error = bench.start(plan("missing", "/nonexistent/image".into())).await.expect_err("no image");
    assert!(error.to_string().contains("`/nonexistent/image`"), "{error}");
    let runtime = bench.supervisor.directory();
    let left: Vec<_> = runtime.read_dir_utf8().expect("readable").flatten().collect();
    // The lock file belongs to the supervisor.
    assert!(left.iter().all(|entry| entry.path().is_file()) && left.len() == 1, "{left:?}");
}

/// The process that [`a_killed_harness_leaves_nothing`] kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it never ends: another test starts and kills it"]
async fn hold_a_machine() {
    let bench = Bench::new();
    let machine = bench.boot("held", "hello\n", BootAction::Idle).await;
    println!("\nheld {} {}", machine.pid(), machine.layout().runtime().parent().expect("a parent"));
    std::future::pending::<()>().await;
}

#[test]
fn a_killed_harness_leaves_nothing() {
    let scratch = tempfile::tempdir().expect("a directory");
    let mut harness = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "hold_a_machine", "--ignored", "--nocapture"])
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let output = BufReader::new(harness.stdout.take().expect("output"));
    let line =
        output.lines().map_while(Result::ok).find(|line| line.starts_with("held ")).expect("a machine");
    let fields: Vec<&str> = line.split(' ').collect();
    let (pid, runtime) = (fields[1].parse().expect("a process id"), Utf8Path::new(fields[2]));
    assert!(alive(pid) && runtime.exists());
    harness.kill().expect("killed");
    harness.wait().expect("gone");
    let begun = Instant::now();
    while alive(pid) || runtime.exists() {
        assert!(begun.elapsed() < SOON, "QEMU {}, files {}", alive(pid), runtime.exists());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a line of the console contains a text.
async fn text(machine: &Machine, wanted: &str, limit: Duration) {
    let begun = Instant::now();
    while !machine.console_tail(500).iter().any(|line| line.contains(wanted)) {
        assert!(begun.elapsed() < limit, "no `{wanted}` but {:#?}", machine.console_tail(50));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uefi_boots_and_its_console_is_recorded() {
    let bench = Bench::new();
    let disk = bench.root.join("uefi.img");
    // UEFI does not boot a boot sector, and enters its shell.
    boot_disk(&disk, "BIOS\n", BootAction::Idle).expect("a disk");
    let mut plan = plan("uefi", &disk);
    plan.spec.memory_mib = 256;
    plan.firmware = Firmware::find(Some(FirmwareChoice::Uefi), &plan.image).expect("ovmf is installed");
    let machine = bench.start(plan).await.expect("started");
    text(&machine, "UEFI Interactive Shell", Duration::from_mins(2)).await;
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_runs_as_long_as_its_machine() {
    let bench = Bench::new();
    let disk = bench.root.join("tpm.img");
    boot_disk(&disk, "hello\n", BootAction::Idle).expect("a disk");
    let mut plan = plan("tpm", &disk);
    plan.spec.tpm = true;
    plan.spec.disks = vec![DiskSpec { size_mib: 64, serial: "data".into() }];
    let machine = bench.start(plan).await.expect("started");
    line(&machine, "hello").await;
    let layout = machine.layout().clone();
    let state = layout.tpm_state().join("tpm2-00.permall");
    assert!(state.exists() && layout.extra_disk(0).exists(), "{state}");
    let tpm = process_with(layout.tpm_state().as_str()).expect("swtpm runs");
    machine.stop().await;
    assert!(!alive(tpm) && !layout.runtime().exists());
}

/// The process whose command line contains a text.
fn process_with(text: &str) -> Option<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let mut pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
}
