// SPDX-License-Identifier: Apache-2.0
//! Warm starts: machines that are restored from the snapshot of a booted one.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod guest_run;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use guest_run::GuestRun;
use loadgauge::guest::{Command, Guest, GuestError};
use loadgauge::machine::{
    AccelChoice, Acceleration, Firmware, Machine, MachineContext, MachinePlan, MachineSpec, MachineStarter,
    Start, StartChoice, StartMethod, StartReport, Supervisor, USER, prove,
};
#[cfg(feature = "all-guest-tests")]
use loadgauge::machine::{FirmwareChoice, SnapshotMode};
use loadgauge_host::Store;
use loadgauge_ignition::Config;
use loadgauge_images::Image;
use tokio::sync::Mutex;

/// Held by each test, because one of them counts the processes and files of this process.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The limit for a command.
const SOON: Duration = Duration::from_mins(2);
/// The limit for a boot.
const BOOT: Duration = Duration::from_mins(15);

/// The environment of these tests. Their snapshots are in the build directory, where the next run of the
/// tests finds them.
struct Bench {
    _records: tempfile::TempDir,
    root: Utf8PathBuf,
    store: Store,
    image: Image,
    acceleration: Acceleration,
    supervisor: Supervisor,
}

impl Bench {
    async fn new() -> Self {
        Self::with_store(&Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join("warm")).await
    }

    async fn with_store(store: &Utf8Path) -> Self {
        let records = tempfile::tempdir().expect("a directory");
        let root = Utf8PathBuf::from_path_buf(records.path().to_owned()).expect("UTF-8");
        let user = Store::of_user().expect("a store");
        let image = user.root().join("last-image").canonicalize_utf8().expect("loadgauge image build");
        Self {
            _records: records,
            root,
            store: Store::at(store),
            image: Image::open(&image, &user, &|_| ()).expect("an image"),
            acceleration: prove(AccelChoice::Auto, &user).await.expect("an accelerator"),
            supervisor: Supervisor::new().expect("a supervisor"),
        }
    }

    fn starter(&self) -> MachineStarter {
        let architecture = self.image.facts.architecture;
        MachineStarter::new(&self.store, 4 << 30, architecture, &self.acceleration, BOOT)
    }

    fn plan(&self, name: &str) -> MachinePlan {
        MachinePlan {
            name: name.to_owned(),
            spec: MachineSpec::default(),
            image: self.image.clone(),
            acceleration: self.acceleration.clone(),
            firmware: Firmware::Bios,
            config: Config::new(),
            served: Vec::new(),
            peer_address: None,
        }
    }

    async fn start(&self, starter: &MachineStarter, plan: MachinePlan) -> (Machine, StartReport) {
        let method = choose(starter, &plan);
        let directory = self.root.join(&plan.name);
        let relay = Utf8Path::new(env!("CARGO_BIN_EXE_loadgauge"));
        let context = MachineContext { directory: &directory, relay, supervisor: &self.supervisor };
        Box::pin(starter.start(plan, &method, context)).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    async fn warm(&self, starter: &MachineStarter, name: &str) -> Machine {
        let (machine, report) = self.start(starter, self.plan(name)).await;
        assert_eq!(report.start, Start::Warm, "{}", report.reason);
        machine
    }
}

fn choose(starter: &MachineStarter, plan: &MachinePlan) -> StartMethod {
    starter.choose(StartChoice::Warm, &[(plan, false)], 1).remove(0)
}

async fn guest(machine: &Machine) -> Guest {
    let host_key = machine.host_key();
    assert!(host_key.is_some(), "known before the first connection");
    Guest::connect_to(machine.ssh_address(), USER, machine.key(), host_key, SOON).await.expect("a connection")
}

/// The output of a command that must succeed.
async fn ask(guest: &Guest, line: &str) -> String {
    let output = guest.run(Command::as_root(line).with_timeout(SOON)).await.expect("it ran");
    assert!(output.exit.success(), "{line}: {}\n{}", output.exit, output.error_text());
    output.text().trim().to_owned()
}

async fn wait_for(path: &Utf8Path, text: &str) {
    let begun = Instant::now();
    while !String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).contains(text) {
        assert!(begun.elapsed() < SOON, "`{text}` does not come in `{path}`");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A machine that is restored some time after its snapshot has the current time.
async fn has_the_hosts_time(bench: &Bench, starter: &MachineStarter) {
    const PAUSE: Duration = Duration::from_secs(20);
    tokio::time::sleep(PAUSE).await;
    let machine = bench.warm(starter, "later").await;
    let guest = guest(&machine).await;
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs();
    let before = now();
    let reported: u64 = ask(&guest, "date +%s").await.parse().expect("seconds");
    assert!(
        (before - 1..=now() + 1).contains(&reported),
        "the guest's time is {reported}, the host's {before}"
    );
    guest.close().await;
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_verified_and_share_nothing() {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await;
    let starter = bench.starter();
    let (one, two) = tokio::join!(bench.warm(&starter, "one"), bench.warm(&starter, "two"));
    let (first, second) = tokio::join!(guest(&one), guest(&two));
    let key = choose(&starter, &bench.plan("one")).snapshot().expect("a key").to_owned();
    let snapshot = bench.store.root().join("snapshot").join(&key);
    let saved = last_changes(&snapshot);

    let boot = |ready: loadgauge::machine::Ready| ready.boot_id;
    let (booted, too) = tokio::join!(one.ready(None, SOON), two.ready(None, SOON));
    let booted = boot(booted.expect("ready"));
    assert_eq!(booted, boot(too.expect("ready")), "both are copies of one boot");
    assert_eq!(ask(&first, "cat /proc/sys/kernel/random/boot_id").await, booted);

    // The harness made both keys: what counts is that each guest has its own, and no other.
    let host_keys = "cat /etc/ssh/ssh_host_*_key.pub";
    let (keys, other_keys) = (ask(&first, host_keys).await, ask(&second, host_keys).await);
    assert_eq!((keys.lines().count(), other_keys.lines().count()), (1, 1), "{keys}\n{other_keys}");
    assert_ne!(keys, other_keys, "the saved guest's key");
    let stranger = Guest::connect(two.ssh_address(), USER, one.key(), SOON).await;
    assert!(matches!(stranger, Err(GuestError::Authenticate { .. })), "the other machine's key is refused");
    let random = "head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid";
    assert_ne!(ask(&first, random).await, ask(&second, random).await);

    has_the_hosts_time(&bench, &starter).await;

    ask(&first, "echo mine >/var/lib/mine; echo mine >/run/mine; sync").await;
    assert_eq!(ask(&second, "ls /var/lib/mine /run/mine 2>/dev/null | wc -l").await, "0");

    // Its ports work, and its records include the output before the snapshot.
    ask(&first, "logger after-the-copy; echo on-the-console >/dev/ttyS0").await;
    wait_for(&one.layout().journal_log(), "after-the-copy").await;
    wait_for(&one.layout().console_log(), "on-the-console").await;
    let journal = fs::read_to_string(one.layout().journal_log()).expect("a journal");
    assert!(
        journal.lines().next().is_some_and(|line| line.contains("Linux version")),
        "from its first entry"
    );
    // The other's journal does not only lag behind.
    ask(&second, "logger from-the-other").await;
    wait_for(&two.layout().journal_log(), "from-the-other").await;
    assert!(!fs::read_to_string(two.layout().journal_log()).expect("one").contains("after-the-copy"));
    // Each copy reaches the harness's server.
    assert_eq!(ask(&first, "curl -s -o /dev/null -w '%{http_code}' http://10.0.2.100/none").await, "404");

    let in_use = || {
        let listed = starter.snapshots().list().expect("listed");
        listed.into_iter().find(|entry| entry.key == key).expect("it is listed").in_use
    };
    assert!(in_use(), "two machines run from it");
    one.stop().await;
    assert!(in_use(), "one machine runs from it");
    two.stop().await;
    assert!(!in_use(), "no machine runs from it");
    assert_eq!(last_changes(&snapshot), saved, "a copy has written to the snapshot");
}

/// When the disks and the memory of a snapshot were last changed, and their modes.
fn last_changes(snapshot: &Utf8Path) -> Vec<(String, SystemTime, u32)> {
    let secret =
        |name: &str| name == "memory" || name == "state" || Utf8Path::new(name).extension() == Some("qcow2");
    let mut found: Vec<_> = snapshot
        .read_dir_utf8()
        .expect("the snapshot")
        .flatten()
        .filter(|entry| secret(entry.file_name()))
        .map(|entry| {
            let metadata = entry.metadata().expect("there");
            let mode = metadata.permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "`{}` contains the guest's secrets", entry.path());
            (entry.file_name().to_owned(), metadata.modified().expect("a time"), mode)
        })
        .collect();
    found.sort();
    assert!(found.len() >= 2, "{found:?}");
    found
}

/// Starts a machine from a copy of its snapshot that was damaged. Returns why it started cold.
async fn start_from_damaged(name: &str, damage: impl FnOnce(&Utf8Path)) -> String {
    let bench = Bench::new().await;
    let plan = bench.plan("found");
    let starter = bench.starter();
    bench.warm(&starter, "found").await.stop().await;
    let key = choose(&starter, &plan).snapshot().expect("a key").to_owned();
    let other = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if other.exists() {
        fs::remove_dir_all(&other).expect("removed");
    }
    let from = bench.store.root().join("snapshot").join(&key);
    let to = other.join("snapshot").join(&key);
    fs::create_dir_all(to.parent().expect("a parent")).expect("made");
    let copied = std::process::Command::new("cp").args(["-a", "--sparse=always"]).args([&from, &to]).status();
    assert!(copied.expect("cp runs").success());
    damage(&to);

    let bench = Bench::with_store(&other).await;
    let starter = bench.starter();
    let (machine, report) = bench.start(&starter, bench.plan("refused")).await;
    assert_eq!(report.start, Start::Cold);
    assert!(report.reason.starts_with("its snapshot was refused and removed: "), "{}", report.reason);
    assert!(!to.exists(), "it was removed");
    machine.stop().await;
    fs::remove_dir_all(&other).expect("removed");
    report.reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_with_another_nonce_is_refused_and_removed() {
    let _alone = ALONE.lock().await;
    let mut nonce = String::new();
    let reason = start_from_damaged("other-nonce", |snapshot| {
        let file = snapshot.join("snapshot.json");
        let description = fs::read_to_string(&file).expect("a description");
        let parsed: serde_json::Value = serde_json::from_str(&description).expect("JSON");
        parsed["nonce"].as_str().expect("a nonce").clone_into(&mut nonce);
        fs::write(&file, description.replace(&nonce, &"0".repeat(32))).expect("written");
    })
    .await;
    assert!(reason.contains(&nonce), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_with_a_cut_or_missing_file_is_refused_and_removed() {
    let _alone = ALONE.lock().await;
    let reason = start_from_damaged("cut", |snapshot| {
        let disk = fs::File::options().write(true).open(snapshot.join("disk.qcow2")).expect("a disk");
        disk.set_len(1 << 20).expect("cut");
    })
    .await;
    assert!(reason.contains("`disk.qcow2` has 1048576 bytes instead of "), "{reason}");
    let missing = |snapshot: &Utf8Path| fs::remove_file(snapshot.join("config.ign")).expect("removed");
    let reason = start_from_damaged("missing", missing).await;
    assert!(reason.ends_with("`config.ign` is missing"), "{reason}");
}

#[cfg(feature = "all-guest-tests")]
#[tokio::test(flavor = "multi_thread")]
async fn memory_within_the_saved_state_is_restored() {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await;
    let starter = bench.starter().saving(SnapshotMode::Mapped);
    let machine = bench.warm(&starter, "mapped").await;
    assert_eq!(ask(&guest(&machine).await, "echo alive").await, "alive");
    machine.stop().await;
}

#[cfg(feature = "all-guest-tests")]
#[tokio::test(flavor = "multi_thread")]
async fn firmware_tpm_and_additional_disks_are_restored() {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await;
    let mut plan = bench.plan("firmware");
    plan.firmware = Firmware::find(Some(FirmwareChoice::Uefi), &bench.image).expect("a firmware");
    plan.spec.firmware = Some(FirmwareChoice::Uefi);
    plan.spec.tpm = true;
    let serial = "more".to_owned();
    plan.spec.disks = vec![loadgauge::machine::DiskSpec { size_mib: 16, serial }];
    let starter = bench.starter();
    let (machine, report) = bench.start(&starter, plan).await;
    assert_eq!(report.start, Start::Warm, "{}", report.reason);
    let guest = guest(&machine).await;
    let disk = "/dev/disk/by-id/virtio-more";
    ask(&guest, "test -d /sys/firmware/efi && test -e /dev/tpm0").await;
    let back = format!("echo here | dd of={disk} conv=sync 2>/dev/null; sync; head -c 4 {disk}");
    assert_eq!(ask(&guest, &back).await, "here");
    machine.stop().await;
}

/// What warm starts could leave in this process and on the host.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    files: usize,
    /// by name, including zombies
    children: Vec<String>,
    runtime: usize,
}

impl Traces {
    /// Fails if a machine left anything.
    fn assert_no_machine(&self) {
        assert!(!self.children.iter().any(|name| name.contains("qemu")), "{self:?}");
        assert_eq!(self.runtime, 1, "the supervisor's lock file only: {self:?}");
    }
}

fn traces(supervisor: &Supervisor) -> Traces {
    let children = fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(") ")?;
        let parent = rest.split(' ').nth(1)?;
        let name = name.split_once('(').map_or(name, |(_, name)| name);
        (parent == std::process::id().to_string()).then(|| name.to_owned())
    });
    let mut children: Vec<String> = children.collect();
    children.sort();
    Traces {
        files: fs::read_dir("/proc/self/fd").expect("descriptors").count(),
        children,
        runtime: supervisor.directory().read_dir_utf8().expect("the runtime directory").count(),
    }
}

/// Resident memory of this process, in MiB (proc_pid_statm(5)).
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").expect("statm");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096 / (1 << 20)
}

/// Pairs of warm starts, and the pair after which nothing may grow any more.
const PAIRS: (u32, u32) = if cfg!(feature = "all-guest-tests") { (100, 20) } else { (15, 8) };

#[tokio::test(flavor = "multi_thread")]
async fn many_warm_starts_leave_nothing() {
    let _alone = ALONE.lock().await;
    let bench = Arc::new(Bench::new().await);
    let starter = Arc::new(bench.starter());
    // The first ones allocate what stays: the runtime's threads, the allocator's arenas.
    bench.warm(&starter, "first").await.stop().await;
    let mut memory = 0;
    let mut before = None;
    for number in 0..PAIRS.0 {
        let names = [format!("left-{number}"), format!("right-{number}")];
        let [left, right] = &names;
        let (left, right) = tokio::join!(bench.warm(&starter, left), bench.warm(&starter, right));
        tokio::join!(left.stop(), right.stop());
        for name in names {
            fs::remove_dir_all(bench.root.join(name)).expect("its records");
        }
        if number == PAIRS.1 {
            memory = resident();
            let traces = traces(&bench.supervisor);
            traces.assert_no_machine();
            before = Some(traces);
        }
    }
    assert_eq!(Some(traces(&bench.supervisor)), before);
    assert!(resident() <= memory + 8, "{memory} MiB have become {}", resident());
    bench.supervisor.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_copies_share_memory() {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await;
    let starter = bench.starter();
    let mut machines = vec![bench.warm(&starter, "0").await];
    for number in 1..8 {
        machines.push(bench.warm(&starter, &number.to_string()).await);
    }
    // Each writes to its memory before one of them reads.
    let mut guests = Vec::new();
    for (number, machine) in machines.iter().enumerate() {
        let guest = guest(machine).await;
        ask(&guest, &format!("echo {number} >/run/own")).await;
        guests.push(guest);
    }
    let mut boots = BTreeSet::new();
    for (number, guest) in guests.iter().enumerate() {
        assert_eq!(ask(guest, "cat /run/own").await, number.to_string(), "it has the memory of another");
        boots.insert(ask(guest, "cat /proc/sys/kernel/random/boot_id").await);
    }
    assert_eq!(boots.len(), 1, "all are copies of one boot: {boots:?}");
    let used: usize = machines.iter().map(|machine| proportional(machine.pid())).sum();
    for machine in machines {
        machine.stop().await;
    }
    traces(&bench.supervisor).assert_no_machine();
    let relay = env!("CARGO_BIN_EXE_loadgauge").into();
    let cold = Machine::start(bench.plan("cold"), bench.root.join("cold"), relay, &bench.supervisor);
    let cold = cold.await.expect("started");
    cold.ready(None, BOOT).await.expect("ready");
    let alone = proportional(cold.pid());
    println!("8 copies of a 1 GiB machine take {used} MiB together, one that was booted takes {alone} (PSS)");
    assert!(used * 2 <= alone * 5, "8 copies take {used} MiB, more than 2.5 times the {alone} of one");
    cold.stop().await;
}

/// Memory of a process in MiB, with what it shares divided among those who do (proc_pid_smaps(5)).
fn proportional(pid: u32) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("Pss");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1024
}

#[test]
fn warm_and_cold_come_to_the_same_and_an_extension_is_tried_on_a_copy() {
    let _alone = ALONE.blocking_lock();
    let run = GuestRun::of(&["plain.toml"]).with(&["--verify-warm", "--start", "warm"]).finish();
    run.assert(
        0,
        &["warm and cold starts have the same outcomes", "verdict: passed", "warm start", "cold start"],
    );

    let directory = tempfile::tempdir().expect("a directory");
    let attempt = |recipe: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_loadgauge"))
            .args(["try", recipe, "--output"])
            .arg(directory.path().join(recipe))
            .output()
            .expect("the binary runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, words) = attempt("hello");
    assert_eq!(status, Some(0), "{words}");
    assert!(words.contains("a new image of `hello` is merged") && words.contains("warm start"), "{words}");
    let (status, words) = attempt("future");
    assert_eq!(status, Some(1), "an extension for another release is not merged:\n{words}");
    assert!(words.contains("extension `future` is merged"), "{words}");
}
