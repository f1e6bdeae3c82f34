// SPDX-License-Identifier: Apache-2.0
//! What signals mean: SIGINT, SIGTERM, SIGHUP and SIGQUIT end every subcommand in order.
use std::io;

use loadgauge_host::{children, fs};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, Failure, output};
use crate::runner::Claim;

/// Ends the process at the first signal, with its children and temporary files. While a run has machines, it
/// decides itself what SIGINT and SIGTERM mean ([`Claim`]).
pub(super) fn listen() -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(Failure::internal)?;
    let signals = {
        let _runtime = runtime.enter();
        Signals::listen().map_err(Failure::internal)?
    };
    let wait = move || runtime.block_on(signals.wait());
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(Failure::internal)?;
    Ok(())
}

/// Ends the process now.
pub(super) fn end() -> ! {
    children::end();
    output::message("interrupted: what was not complete is removed");
    std::process::exit(i32::from(Exit::Interrupted.status()))
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        // nohup(1) has this signal ignored, which a handler would undo.
        let hangup = SignalKind::hangup();
        let hangup = if is_ignored(hangup) { None } else { Some(signal(hangup)?) };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hangup,
        })
    }

    async fn wait(self) {
        let Self { mut interrupt, mut terminate, mut quit, mut hangup } = self;
        loop {
            tokio::select! {
                _ = interrupt.recv() => if !Claim::is_taken() { end() },
                _ = terminate.recv() => if !Claim::is_taken() { end() },
                _ = quit.recv() => end(),
                () = received(hangup.as_mut()) => end(),
            }
        }
    }
}

async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether this process was started with a signal ignored (`SigIgn` in proc_pid_status(5)).
fn is_ignored(signal: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.as_raw_value() - 1) & 1 == 1
}
