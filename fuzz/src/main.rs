// SPDX-License-Identifier: Apache-2.0
//! Runs the fuzzer: `cargo run -p loadgauge-fuzz -- TARGET..`; see README.md.
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use camino::Utf8PathBuf;
use clap::Parser;
use loadgauge_fuzz::{Failure, Run, targets};
use loadgauge_host::fs;
use sha2::{Digest as _, Sha256};

/// Feed changed inputs to the readers of foreign bytes
#[derive(Debug, Parser)]
struct Arguments {
    /// Targets [default: all]
    targets: Vec<String>,
    /// Maximum number of inputs per target
    #[arg(long, default_value_t = u64::MAX)]
    inputs: u64,
    /// Maximum time per target, in seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seed of the inputs [default: the current time, which is printed]
    #[arg(long)]
    seed: Option<u64>,
    /// Feed only this file, which an earlier run wrote
    #[arg(long, value_name = "FILE", requires = "targets")]
    file: Option<Utf8PathBuf>,
    /// Directory for inputs that make a target fail
    #[arg(long, value_name = "DIR", default_value = "target/fuzz-failures")]
    failures: Utf8PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = |name: &str| arguments.targets.is_empty() || arguments.targets.iter().any(|one| one == name);
    let chosen: Vec<_> = targets::ALL.iter().filter(|target| wanted(target.name)).collect();
    if chosen.is_empty() || (chosen.len() != arguments.targets.len() && !arguments.targets.is_empty()) {
        let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
        anstream::eprintln!("error: there is no such target\nhint: the targets are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = arguments.seed.unwrap_or(clock.as_secs());
    let run = Run { seed, inputs: arguments.inputs, time: Duration::from_secs(arguments.seconds) };
    anstream::eprintln!("seed {seed}");
    let mut failed = false;
    for target in chosen {
        let result = match &arguments.file {
            None => run.feed(target),
            Some(path) => match fs::read(path) {
                Ok(bytes) => run.feed_one(target, &bytes).map(|()| 1),
                Err(error) => {
                    anstream::eprintln!("error: {}", loadgauge_host::error::on_one_line(&error));
                    return ExitCode::from(2);
                }
            },
        };
        match result {
            Ok(count) => {
                let reached = target.reached.map(|reached| format!(", {} beyond the headers", reached()));
                let reached = reached.unwrap_or_default();
                anstream::eprintln!("{:<20} passed with {count} inputs{reached}", target.name);
            }
            Err(failure) => {
                failed = true;
                let place = keep(&arguments.failures, target.name, &failure);
                anstream::eprintln!("{:<20} FAILED: {}; the input is {place}", target.name, failure.reason);
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Writes an input to a file and returns its path, or the input in hex if the file cannot be written.
fn keep(directory: &Utf8PathBuf, name: &str, failure: &Failure) -> String {
    let digest = hex::encode(Sha256::digest(&failure.input));
    let path = directory.join(format!("{name}-{}", &digest[..12]));
    match fs::create_dir_all(directory).and_then(|()| fs::write(&path, &failure.input)) {
        Ok(()) => format!("`{path}`"),
        Err(error) => format!("{} in hex, since {error}", hex::encode(&failure.input)),
    }
}
