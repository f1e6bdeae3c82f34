// SPDX-License-Identifier: Apache-2.0
//! Runs a case of the fault matrix.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod fake;

use std::process::Command;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge::machine::{
    Acceleration, Accelerator, BootAction, Fault, Firmware, Machine, MachinePlan, MachineSpec, Supervisor,
    boot_disk,
};
use loadgauge_ignition::Config;
use loadgauge_images::Image;

/// The limit for a guest of one sector to print its text, on a busy host.
const START: Duration = Duration::from_secs(40);
/// The prefix of the line on which a child process reports its fault.
const REPORT: &str = "FAULT ";

/// The name of the machine that nothing happens to.
pub(crate) const BYSTANDER: &str = "bystander";

/// A machine, and what happens to it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) action: BootAction,
    pub(crate) inject: Inject,
}

/// What is done to a machine from outside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inject {
    Nothing,
    /// its readiness is awaited for this many seconds
    Waiting(u64),
    /// QEMU gets this signal
    Signal(&'static str),
    /// its TPM is killed
    TpmKilled,
    /// QEMU stops the guest with an internal error
    Internal,
    /// its disk is on a file system with little space
    SmallDisk,
}

/// Machines in a temporary directory.
pub(crate) struct Bench {
    _directory: tempfile::TempDir,
    root: Utf8PathBuf,
    pub(crate) supervisor: Supervisor,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).expect("UTF-8");
        Self { _directory: directory, root, supervisor: Supervisor::new().expect("a supervisor") }
    }

    pub(crate) async fn boot(&self, name: &str, text: &str, action: BootAction) -> Machine {
        self.start(name, text, action, false).await
    }

    async fn start(&self, name: &str, text: &str, action: BootAction, tpm: bool) -> Machine {
        let disk = self.root.join(format!("{name}.img"));
        boot_disk(&disk, text, action).expect("a disk");
        let mut plan = plan(name, &disk);
        plan.spec.tpm = tpm;
        let records = self.root.join(name);
        let relay = env!("CARGO_BIN_EXE_loadgauge").into();
        Machine::start(plan, records, relay, &self.supervisor).await.expect("started")
    }
}

/// The plan of a small machine with a disk image.
pub(crate) fn plan(name: &str, disk: &Utf8Path) -> MachinePlan {
    let image: Image = serde_json::from_value(serde_json::json!({
        "disk": disk, "format": "raw", "digest": "",
        "facts": {
            "os_release": {}, "architecture": "amd64", "era": "sysext", "systemd": 257,
            "vendor_extensions": [],
        },
    }))
    .expect("an image");
    MachinePlan {
        name: name.to_owned(),
        spec: MachineSpec { memory_mib: 64, cpus: Some(1), ..MachineSpec::default() },
        firmware: Firmware::Bios,
        image,
        acceleration: Acceleration { accelerator: Accelerator::Tcg, factor: 10.0, reason: String::new() },
        config: Config::new(),
        served: Vec::new(),
        peer_address: None,
    }
}

/// Runs a case beside an unaffected machine of the same process, and checks both.
#[expect(clippy::print_stdout, reason = "with --nocapture, the output is the table of the matrix")]
pub(crate) async fn check(case: Case, limit: Duration, expected: impl Fn(&Fault) -> bool) {
    let (fault, after) = match case.inject {
        Inject::Internal | Inject::SmallDisk => {
            let case = case.name;
            tokio::task::spawn_blocking(move || inside(case)).await.expect("it ran")
        }
        inject => {
            let victim = async |bench: &Bench| {
                let machine =
                    bench.start("victim", case.text, case.action, inject == Inject::TpmKilled).await;
                if let Some(line) = case.text.lines().next() {
                    text(&machine, line).await;
                }
                let begun = Instant::now();
                let fault = self::inject(bench, &machine, inject).await;
                let after = begun.elapsed();
                machine.stop().await;
                (fault, after)
            };
            beside_a_bystander(victim).await
        }
    };
    assert!(expected(&fault), "another fault: {fault:?}");
    assert!(after < limit, "it took {after:?} from the cause to its report: {fault}");
    println!("{}: after {after:.1?}: {fault}", case.name);
}

/// Does something to a machine beside another one of the same supervisor, which must not be affected.
async fn beside_a_bystander(victim: impl AsyncFnOnce(&Bench) -> (Fault, Duration)) -> (Fault, Duration) {
    let bench = Bench::new();
    let bystander = bench.boot(BYSTANDER, "hello\n", BootAction::Idle).await;
    text(&bystander, "hello").await;
    let result = victim(&bench).await;
    let bystanders_fault = tokio::time::timeout(Duration::from_millis(1500), bystander.fault()).await;
    assert!(bystanders_fault.is_err(), "the other machine: {bystanders_fault:?}");
    let running: Vec<u32> = bench.supervisor.children().iter().map(|child| child.pid).collect();
    assert_eq!(running, [bystander.pid()], "the other machine runs, and nothing else");
    bystander.stop().await;
    assert_eq!(bench.supervisor.children(), []);
    bench.supervisor.stop_all().await;
    result
}

/// Does something to a machine, and waits for the fault.
async fn inject(bench: &Bench, machine: &Machine, what: Inject) -> Fault {
    match what {
        Inject::Waiting(seconds) => {
            let limit = Duration::from_secs(seconds);
            return machine.ready(None, limit).await.expect_err("it is never ready");
        }
        Inject::Signal(name) => signal(machine.pid(), name),
        Inject::TpmKilled => {
            let children = bench.supervisor.children();
            let tpm = children.iter().find(|child| child.program == "swtpm").expect("it has a TPM");
            signal(tpm.pid, "KILL");
        }
        Inject::Nothing | Inject::Internal | Inject::SmallDisk => {}
    }
    tokio::time::timeout(START, machine.fault()).await.expect("a fault")
}

pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

/// Waits for a line of the console.
async fn text(machine: &Machine, wanted: &str) {
    let begun = Instant::now();
    while !machine.console_tail(50).iter().any(|line| line.contains(wanted)) {
        assert!(begun.elapsed() < START, "no `{wanted}` but {:?}", machine.console_tail(50));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs the ignored test `CASE_inside` of this binary in a child process with an environment for the case.
/// Returns the fault that it reports, and the time from its cause.
fn inside(case: &str) -> (Fault, Duration) {
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = scratch.path().to_str().expect("UTF-8");
    let this = std::env::current_exe().expect("this test");
    let name = format!("{case}_inside");
    let arguments = ["--exact", &name, "--ignored", "--nocapture"];
    let mut command = if case == "disk_full" {
        // A file system that only this process and its children see.
        let script =
            "mount -t tmpfs -o size=6m tmpfs \"$1\" && cd / && export TMPDIR=\"$1\" && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "--", "sh", "-c", script, "sh", directory]).arg(&this);
        command
    } else {
        fake::install(scratch.path(), &this);
        let path = format!("{directory}:{}", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(&this);
        command.env("PATH", path);
        command
    };
    let output = command.args(arguments).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    // It fails as well if the other machine was affected.
    assert!(output.status.success(), "{text}\n{errors}");
    let line = text.lines().find_map(|line| line.strip_prefix(REPORT));
    let line = line.unwrap_or_else(|| panic!("{text}\n{errors}"));
    let (after, fault) = line.split_once(' ').expect("two fields");
    let after = Duration::from_millis(after.parse().expect("milliseconds"));
    (serde_json::from_str(fault).expect("a fault"), after)
}

/// The part of [`inside`] that runs in the child process, with a bystander there.
#[expect(clippy::print_stdout, reason = "the parent process reads it")]
pub(crate) fn run_inside(name: &'static str, action: BootAction) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let victim = async |bench: &Bench| {
        let machine = bench.boot(name, "filling\n", action).await;
        let begun = Instant::now();
        let fault = tokio::time::timeout(START, machine.fault()).await.expect("a fault");
        let after = begun.elapsed();
        machine.stop().await;
        (fault, after)
    };
    let (fault, after) = runtime.block_on(beside_a_bystander(victim));
    println!("\n{REPORT}{} {}", after.as_millis(), serde_json::to_string(&fault).expect("JSON"));
}
