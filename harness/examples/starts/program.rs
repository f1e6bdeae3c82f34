// SPDX-License-Identifier: Apache-2.0
//! Measures the program's commands.
use std::fs;
use std::process::Command;
use std::time::Instant;

use camino::Utf8Path;
use loadgauge_host::CommandExt as _;

use crate::Result;
use crate::figures::{Figures, median, shown};

const TURNS: usize = 9;
const SCENARIO: &str = "summary = \"A machine is up\"\n[[step]]\nrun = \"true\"\n";

/// Measures commands that start no machine.
pub(crate) fn listing(program: &Utf8Path, figures: &mut Figures) -> Result<()> {
    for (what, subcommand, limit) in
        [("loadgauge list", "list", 20.0), ("loadgauge plan, whole catalogue", "plan", 200.0)]
    {
        // The first run builds the extensions and fills the cache.
        Command::new(program).arg(subcommand).run()?;
        let mut times = Vec::new();
        for _ in 0..TURNS {
            let begun = Instant::now();
            Command::new(program).arg(subcommand).run()?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        let best = times.iter().copied().fold(f64::INFINITY, f64::min);
        let how = format!("best of {TURNS}, median {:.1}", median(&times));
        figures.add(what, (best, "ms"), limit, how)?;
    }
    Ok(())
}

/// Measures ten scenarios with the same machine, against ten cold boots to the first check.
///
/// The time includes the machine's cold boot and its snapshot.
pub(crate) fn ten_scenarios(
    program: &Utf8Path,
    image: &Utf8Path,
    cold: f64,
    figures: &mut Figures,
) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let catalogue = directory.path().join("catalogue");
    fs::create_dir_all(&catalogue)?;
    for number in 0..10 {
        fs::write(catalogue.join(format!("up-{number}.toml")), SCENARIO)?;
    }
    let command = |subcommand: &str| {
        let mut command = Command::new(program);
        command.arg(subcommand).arg("--scenarios").arg(&catalogue).arg("--image").arg(image);
        // The store contains no snapshots yet; the program writes temporary files to its directory.
        command.env("LOADGAUGE_CACHE", directory.path().join("store")).current_dir(directory.path());
        command
    };
    // Probes the acceleration and inspects the image; later runs find the results in the store.
    command("plan").run()?;
    let begun = Instant::now();
    command("run").args(["--jobs", "2"]).run()?;
    let took = begun.elapsed().as_secs_f64();
    let how = format!("{took:.1} s, its cold boot included, by ten times {} s", shown(&[cold]));
    figures.add("ten scenarios, --jobs 2, by ten cold boots", (took / (10.0 * cold), ""), 0.25, how)
}
