// SPDX-License-Identifier: Apache-2.0
//! Runs of the program itself.
use std::fs;
use std::process::Command;
use std::time::Instant;

use camino::Utf8Path;
use loadgauge_host::CommandExt as _;

use crate::Result;
use crate::figures::{Figures, median, shown};

const TURNS: usize = 9;
const SCENARIO: &str = "summary = \"A machine is up\"\n[[step]]\nrun = \"true\"\n";

/// What does not start a machine.
pub(crate) fn listing(program: &Utf8Path, figures: &mut Figures) -> Result<()> {
    for (what, word, limit) in
        [("loadgauge list", "list", 20.0), ("loadgauge plan, whole catalogue", "plan", 200.0)]
    {
        // What is built for a plan the first time is kept.
        Command::new(program).arg(word).run()?;
        let mut times = Vec::new();
        for _ in 0..TURNS {
            let begun = Instant::now();
            Command::new(program).arg(word).run()?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        let best = times.iter().copied().fold(f64::INFINITY, f64::min);
        let how = format!("best of {TURNS}, median {:.1}", median(&times));
        figures.enter(what, (best, "ms"), limit, how)?;
    }
    Ok(())
}

/// Ten scenarios with one machine, its one cold boot and its snapshot included, against ten times a
/// cold boot to the first check.
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
    let command = |word: &str| {
        let mut command = Command::new(program);
        command.arg(word).arg("--scenarios").arg(&catalogue).arg("--image").arg(image);
        // A store without snapshots, and files that go with the benchmark.
        command.env("LOADGAUGE_CACHE", directory.path().join("store")).current_dir(directory.path());
        command
    };
    // Proves the acceleration and reads the image, which every later run finds done.
    command("plan").run()?;
    let begun = Instant::now();
    command("run").args(["--jobs", "2"]).run()?;
    let took = begun.elapsed().as_secs_f64();
    let how = format!("{took:.1} s, its cold boot included, by ten times {} s", shown(&[cold]));
    figures.enter("ten scenarios, --jobs 2, by ten cold boots", (took / (10.0 * cold), ""), 0.25, how)
}
