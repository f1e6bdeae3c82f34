// SPDX-License-Identifier: Apache-2.0
//! What starts cost: `start_speed LOADGAUGE OUTPUT`, the harness's own program and a file for the
//! figures. On the image that was built last, within one run: cold and warm starts to the result of a
//! first command over SSH, taken in turns, their medians compared; the memory of eight copies beside
//! that of one machine that was booted; and how long `list` and `plan` take. Prints a table and writes
//! the same as JSON. Whether each bound is reached is said, and does not decide about the exit status.
use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge::guest::{self, Guest};
use loadgauge::machine::{
    AccelChoice, Acceleration, Decision, Firmware, Foundry, Machine, MachinePlan, MachineSpec, Place, Start,
    StartChoice, Supervisor, USER, prove,
};
use loadgauge_ignition::Config;
use loadgauge_images::Image;
use loadgauge_images::host::Store;
use serde::Serialize;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Turns of cold and warm starts, and of commands.
const TURNS: usize = 3;
/// Copies that run side by side.
const COPIES: usize = 8;
/// For a guest to boot.
const BOOT: Duration = Duration::from_mins(15);
/// For whatever a guest that is up does.
const SOON: Duration = Duration::from_mins(2);
/// Bytes that snapshots may take.
const SNAPSHOTS: u64 = 4 << 30;

/// One line of the table.
#[derive(Debug, Serialize)]
struct Figure {
    what: &'static str,
    /// the figure, in `unit`
    value: f64,
    unit: &'static str,
    /// the largest that is good enough; none where it is told for what is derived from it
    bound: Option<f64>,
    reached: Option<bool>,
}

impl Figure {
    fn told(what: &'static str, value: f64, unit: &'static str) -> Self {
        Self { what, value, unit, bound: None, reached: None }
    }

    fn bounded(what: &'static str, value: f64, unit: &'static str, bound: f64) -> Self {
        Self { what, value, unit, bound: Some(bound), reached: Some(value <= bound) }
    }
}

/// What the machines are made of and where they live.
struct Bench {
    program: Utf8PathBuf,
    records: tempfile::TempDir,
    image: Image,
    acceleration: Acceleration,
    supervisor: Supervisor,
    foundry: Foundry,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(program), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: start_speed LOADGAUGE OUTPUT".into());
    };
    let bench = Bench::new(Utf8Path::new(&program)).await?;
    let mut figures = bench.starts().await?;
    figures.extend(bench.memory().await?);
    bench.supervisor.stop_all().await;
    figures.push(bench.command("`list`", &["list"], 20.0)?);
    figures.push(bench.command("`plan` of the catalogue", &["plan"], 200.0)?);
    if let Some(parent) = Utf8Path::new(&output).parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&output, serde_json::to_string_pretty(&figures)? + "\n")?;
    print(&figures)
}

impl Bench {
    async fn new(program: &Utf8Path) -> Result<Self> {
        let store = Store::of_user()?;
        let image = store.root().join("last-image").canonicalize_utf8()?;
        let image = Image::open(&image, &store, &|_| ())?;
        let acceleration = prove(AccelChoice::Auto, &store).await?;
        let foundry = Foundry::new(&store, SNAPSHOTS, image.facts.architecture, &acceleration, BOOT);
        Ok(Self {
            program: program.canonicalize_utf8()?,
            records: tempfile::tempdir()?,
            image,
            acceleration,
            supervisor: Supervisor::new()?,
            foundry,
        })
    }

    async fn start(&self, name: &str, start: Start) -> Result<Machine> {
        let plan = MachinePlan {
            name: name.to_owned(),
            spec: MachineSpec::default(),
            image: self.image.clone(),
            acceleration: self.acceleration.clone(),
            firmware: Firmware::Bios,
            config: Config::new(),
            served: Vec::new(),
        };
        let decision = match start {
            Start::Cold => Decision::cold("it is measured"),
            Start::Warm => self.foundry.decide(StartChoice::Warm, &[(&plan, false)]).remove(0),
        };
        let directory = self.records.path().join(name);
        let directory = Utf8PathBuf::from_path_buf(directory).map_err(|_| "not UTF-8")?;
        let place = Place { directory: &directory, relay: &self.program, supervisor: &self.supervisor };
        let started = Box::pin(self.foundry.start(plan, &decision, place)).await;
        let (machine, started) = started.map_err(|error| format!("{error:?}"))?;
        if started.start != start {
            return Err(format!("`{name}` had a {} start: {}", started.start, started.reason).into());
        }
        Ok(machine)
    }

    /// Seconds from nothing to the result of a first command; the machine is stopped.
    async fn first_result(&self, name: &str, start: Start) -> Result<f64> {
        let begun = Instant::now();
        let machine = self.start(name, start).await?;
        machine.ready(None, BOOT).await.map_err(|fault| format!("{fault:?}"))?;
        let (address, key) = (machine.ssh_address(), machine.key());
        let guest = Guest::connect_to(address, USER, key, machine.host_key(), SOON).await?;
        let output = guest.run(guest::Command::as_root("true").with_timeout(SOON)).await?;
        let seconds = begun.elapsed().as_secs_f64();
        machine.stop().await;
        if !output.exit.success() {
            return Err(format!("`true` on `{name}`: {}", output.exit).into());
        }
        Ok(seconds)
    }

    async fn starts(&self) -> Result<Vec<Figure>> {
        // The snapshot is made, or is there, before anything is measured.
        self.start("snapshot", Start::Warm).await?.stop().await;
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        for turn in 0..TURNS {
            cold.push(self.first_result(&format!("cold-{turn}"), Start::Cold).await?);
            warm.push(self.first_result(&format!("warm-{turn}"), Start::Warm).await?);
        }
        let (cold, warm) = (median(cold), median(warm));
        Ok(vec![
            Figure::told("cold start to the first result", cold, "s"),
            Figure::told("warm start to the first result", warm, "s"),
            Figure::bounded("warm by cold", warm / cold, "", 1.0 / 20.0),
        ])
    }

    async fn memory(&self) -> Result<Vec<Figure>> {
        let mut copies = Vec::new();
        for number in 0..COPIES {
            copies.push(self.start(&format!("copy-{number}"), Start::Warm).await?);
        }
        let mut together = 0.0;
        for copy in &copies {
            together += proportional(copy.pid())?;
        }
        for copy in copies {
            copy.stop().await;
        }
        let machine = self.start("booted", Start::Cold).await?;
        machine.ready(None, BOOT).await.map_err(|fault| format!("{fault:?}"))?;
        let alone = proportional(machine.pid())?;
        machine.stop().await;
        Ok(vec![
            Figure::told("memory of one booted machine (PSS)", alone, "MiB"),
            Figure::told("memory of eight idle copies (PSS)", together, "MiB"),
            Figure::bounded("eight copies by one booted", together / alone, "", 2.5),
        ])
    }

    /// Milliseconds that a command of the program takes, the best of some turns.
    fn command(&self, what: &'static str, arguments: &[&str], bound: f64) -> Result<Figure> {
        let mut best = f64::INFINITY;
        for _ in 0..TURNS {
            let begun = Instant::now();
            let status = Command::new(&self.program).args(arguments).stdout(Stdio::null()).status()?;
            if !status.success() {
                return Err(format!("{what} ended with {status}").into());
            }
            best = best.min(begun.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(Figure::bounded(what, best, "ms", bound))
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Memory of a process in MiB, with what it shares divided among those who do (proc_pid_smaps(5)).
fn proportional(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn print(figures: &[Figure]) -> Result<()> {
    let mut output = io::stdout().lock();
    for Figure { what, value, unit, bound, reached } in figures {
        let verdict = match (bound, reached) {
            (Some(bound), Some(true)) => format!("at most {bound}: reached"),
            (Some(bound), _) => format!("at most {bound}: NOT reached"),
            _ => String::new(),
        };
        writeln!(output, "{what:<40} {value:>10.3} {unit:<4} {verdict}")?;
    }
    Ok(())
}
