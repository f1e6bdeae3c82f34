// SPDX-License-Identifier: Apache-2.0
//! Measures the starts of machines: `starts LOADGAUGE OUTPUT.json`.
//!
//! The arguments are the program to measure and the file for the figures. Each figure is either a ratio
//! within this run, on the default image of `loadgauge run`, or a time of the harness alone.
#![expect(clippy::disallowed_methods, reason = "a benchmark ends with the first error")]
mod bare;
mod figures;
mod program;

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge::guest::{Command, Guest};
use loadgauge::machine::{
    AccelChoice, Firmware, Machine, MachineContext, MachinePlan, MachineSpec, MachineStarter, Start,
    StartChoice, Supervisor, USER, prove,
};
use loadgauge_host::Store;
use loadgauge_ignition::Config;
use loadgauge_images::Image;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};

use figures::{Figures, median, shown};

/// The number of pairs of a machine and a bare QEMU.
const PAIRS: usize = 3;
const WARM_STARTS: usize = 10;
const CLONES: usize = 8;
const SOON: Duration = Duration::from_mins(2);
const BOOT: Duration = Duration::from_mins(15);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let usage = "usage: starts LOADGAUGE OUTPUT.json";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, output] = arguments.as_slice() else { return Err(usage.into()) };
    let program = Utf8Path::new(program).canonicalize_utf8()?;
    let bench = Bench::new(program.clone()).await?;
    let image = bench.plan.image.disk.to_string();
    let acceleration = format!("{:?}", bench.plan.acceleration.accelerator).to_lowercase();
    let mut figures = Figures::new(image, acceleration)?;
    program::listing(&program, &mut figures)?;
    let cold = bench.cold(&mut figures).await?;
    bench.warm(cold.to_check, &mut figures).await?;
    bench.memory(cold.memory, &mut figures).await?;
    bench.supervisor.stop_all().await;
    program::ten_scenarios(&program, &bench.plan.image.disk, cold.to_check, &mut figures)?;
    figures.write(Utf8Path::new(output))
}

/// A machine that is started repeatedly.
struct Bench {
    directory: tempfile::TempDir,
    root: Utf8PathBuf,
    program: Utf8PathBuf,
    plan: MachinePlan,
    starter: MachineStarter,
    supervisor: Supervisor,
}

/// The results of cold starts.
struct Cold {
    /// the median time from the start to the result of the first check, in seconds
    to_check: f64,
    /// the memory of one machine, in MiB
    memory: f64,
}

impl Bench {
    async fn new(program: Utf8PathBuf) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("loadgauge-starts-").tempdir()?;
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).map_err(|_| "not UTF-8")?;
        let user = Store::of_user()?;
        let image = user.root().join("last-image").canonicalize_utf8()?;
        let plan = MachinePlan {
            name: "bench".to_owned(),
            spec: MachineSpec::default(),
            image: Image::open(&image, &user, &|_| ())?,
            acceleration: prove(AccelChoice::Auto, &user).await?,
            firmware: Firmware::Bios,
            config: Config::new(),
            served: Vec::new(),
            peer_address: None,
        };
        // The store contains no snapshots yet.
        let store = Store::at(root.join("store"));
        let starter = MachineStarter::new(&store, 8 << 30, plan.architecture(), &plan.acceleration, BOOT);
        Ok(Self { directory, root, program, plan, starter, supervisor: Supervisor::new()? })
    }

    /// Alternates cold starts and bare ones, and which of the two starts first.
    async fn cold(&self, figures: &mut Figures) -> Result<Cold> {
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
        let (mut ours, mut theirs, mut checks, mut memory) = (vec![], vec![], vec![], 0.0);
        for pair in 0..PAIRS {
            for turn in 0..2 {
                if (pair + turn) % 2 == 0 {
                    let begun = Instant::now();
                    let at = self.root.join(format!("cold-{pair}"));
                    let machine =
                        Machine::start(self.plan.clone(), at, self.program.clone(), &self.supervisor).await?;
                    machine.ready(None, BOOT).await.map_err(|fault| fault.to_string())?;
                    ours.push(begun.elapsed().as_secs_f64());
                    check(&machine).await?;
                    checks.push(begun.elapsed().as_secs_f64());
                    memory = bare::memory(&machine)?;
                    machine.stop().await;
                } else {
                    let at = self.root.join(format!("bare-{pair}"));
                    let (plan, key, program) = (&self.plan, &key, &self.program);
                    theirs.push(tokio::task::block_in_place(|| bare::boot(plan, key, &at, program))?);
                }
            }
        }
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        let how = format!(
            "median of {PAIRS} pairs, {}; to the ready event {} s, bare {} s",
            shown(&ratios),
            shown(&ours),
            shown(&theirs)
        );
        figures.add("cold start by a bare QEMU", (median(&ratios), ""), 1.03, how)?;
        Ok(Cold { to_check: median(&checks), memory })
    }

    /// Measures warm starts to the first check, and this process's processor time for each.
    async fn warm(&self, cold: f64, figures: &mut Figures) -> Result<()> {
        self.clone_of("first").await?.stop().await;
        let (mut seconds, mut ready, before) = (vec![], vec![], processor_time()?);
        for number in 0..WARM_STARTS {
            let begun = Instant::now();
            let machine = self.clone_of(&format!("warm-{number}")).await?;
            ready.push(begun.elapsed().as_secs_f64());
            check(&machine).await?;
            seconds.push(begun.elapsed().as_secs_f64());
            machine.stop().await;
        }
        let own = (processor_time()? - before) * 1000.0 / f64::from(u32::try_from(WARM_STARTS)?);
        let warm = median(&seconds);
        let how = format!(
            "medians: {warm:.2} s (of these {:.2} s to the guest's answer) by {cold:.2} s; {}",
            median(&ready),
            shown(&seconds)
        );
        figures.add("warm by cold, to the first check's result", (warm / cold, ""), 0.05, how)?;
        let how =
            format!("processor time of this process, mean of {WARM_STARTS} warm starts, checks and stops");
        figures.add("the harness's own share", (own, "ms"), 150.0, how)
    }

    async fn memory(&self, cold: f64, figures: &mut Figures) -> Result<()> {
        let mut machines = Vec::new();
        for number in 0..CLONES {
            let machine = self.clone_of(&format!("idle-{number}")).await?;
            check(&machine).await?;
            machines.push(machine);
        }
        let together = machines.iter().map(bare::memory).sum::<Result<f64>>()?;
        for machine in machines {
            machine.stop().await;
        }
        let size = self.plan.spec.memory_mib;
        let how = format!("PSS, {together:.0} MiB by {cold:.0} MiB, machines of {size} MiB");
        figures.add("8 idle clones by one cold machine", (together / cold, ""), 2.5, how)
    }

    /// Restores a machine.
    async fn clone_of(&self, name: &str) -> Result<Machine> {
        let method = self.starter.choose(StartChoice::Warm, &[(&self.plan, false)], 1).remove(0);
        let directory = self.root.join(name);
        let context =
            MachineContext { directory: &directory, relay: &self.program, supervisor: &self.supervisor };
        let started = Box::pin(self.starter.start(self.plan.clone(), &method, context)).await;
        let (machine, started) = started.map_err(|error| format!("{error:?}"))?;
        if started.start == Start::Warm { Ok(machine) } else { Err(started.reason.into()) }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A failure leaves only temporary files.
        let _ = fs::remove_dir_all(self.directory.path());
    }
}

/// Runs the smallest check: a command that succeeds.
async fn check(machine: &Machine) -> Result<()> {
    let (address, key) = (machine.ssh_address(), machine.key());
    let guest = Guest::connect_to(address, USER, key, machine.host_key(), SOON).await?;
    let output = guest.run(Command::new("true").with_timeout(SOON)).await?;
    if output.exit.success() { Ok(()) } else { Err(output.exit.to_string().into()) }
}

/// Returns the processor time of this process without its children, in seconds.
///
/// Source: proc_pid_stat(5), in ticks of 1/100 s.
fn processor_time() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = text.rsplit_once(") ").ok_or("no fields")?;
    let ticks =
        fields.split(' ').skip(11).take(2).map(str::parse::<f64>).sum::<std::result::Result<f64, _>>()?;
    Ok(ticks / 100.0)
}
