// SPDX-License-Identifier: Apache-2.0
//! Prints the figures as a table and writes them as JSON.
use std::fs;
use std::io::{self, Write as _};

use camino::Utf8Path;
use serde::Serialize;

use crate::Result;

/// A measured figure and its upper bound.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    what: &'static str,
    value: f64,
    unit: &'static str,
    at_most: f64,
    reached: bool,
    how: String,
}

/// All figures of a run of the benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    image: String,
    acceleration: String,
    processors: usize,
    /// the load average over one minute, before the first and after the last measurement
    load: Vec<f64>,
    measured: Vec<Figure>,
}

impl Figures {
    pub(crate) fn new(image: String, acceleration: String) -> Result<Self> {
        let processors = std::thread::available_parallelism()?.get();
        Ok(Self { image, acceleration, processors, load: vec![load()?], measured: Vec::new() })
    }

    /// Adds a figure and prints its line.
    pub(crate) fn add(
        &mut self,
        what: &'static str,
        (value, unit): (f64, &'static str),
        at_most: f64,
        how: String,
    ) -> Result<()> {
        let reached = value <= at_most;
        let mark = if reached { "reached" } else { "MISSED" };
        writeln!(io::stdout(), "{mark:8} {value:>8.3} {unit:4} (at most {at_most:.2})  {what}: {how}")?;
        self.measured.push(Figure { what, value, unit, at_most, reached, how });
        Ok(())
    }

    /// Writes all figures to a file.
    pub(crate) fn write(mut self, path: &Utf8Path) -> Result<()> {
        self.load.push(load()?);
        fs::create_dir_all(path.parent().ok_or("a file has a directory")?)?;
        fs::write(path, serde_json::to_string_pretty(&self)? + "\n")?;
        let Self { image, acceleration, processors, load, .. } = self;
        writeln!(io::stdout(), "{image}, {acceleration}, {processors} processors, load {load:?}; {path}")?;
        Ok(())
    }
}

fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().ok_or("no load")?.parse()?)
}

/// Returns the median; for an even number of values, the lower of the middle two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Formats values with two decimals.
pub(crate) fn shown(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.2}")).collect::<Vec<_>>().join(" ")
}
