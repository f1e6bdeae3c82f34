// SPDX-License-Identifier: Apache-2.0
//! Runs whose machines outlive them.
//!
//! A machine lives with the process that started it: the kernel kills it otherwise. Where machines may
//! be left running, the run is therefore done by a second process, the keeper, in a session of its own,
//! while the first one waits and hands on its signals. It dies with the first one for as long as the run
//! goes on. Once the run has ended, it tells the exit status, with which the first process leaves, and
//! lives on with the machines that were kept; their consoles and journals are written as before.
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use clap::{Args, Parser as _};
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::{Arguments, Command as Subcommand};
use super::run::{own_program, run_here, runtime};
use super::{Exit, Failure};
use crate::machine::Supervisor;
use crate::runner::RetainedMachines;

/// `loadgauge keep`
#[derive(Debug, Args)]
pub(super) struct KeepArguments {
    /// the process that waits for the run
    #[arg(long)]
    parent: i32,
    /// the run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl KeepArguments {
    /// What the keeper shall do, as its parent was asked for it.
    pub(super) fn own(&self) -> Arguments {
        let name = std::iter::once(OsString::from("loadgauge"));
        Arguments::parse_from(name.chain(self.arguments.iter().cloned()))
    }
}

/// The process that waits for the end of a run, as the keeper sees it: it holds the other end of the
/// keeper's standard input.
#[derive(Debug)]
pub(super) struct Parent {
    channel: UnixStream,
}

fn internal(error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Internal, error, None)
}

/// Has a keeper do what this process was asked for, and gives its exit status.
pub(super) fn run_in_keeper() -> Result<Exit, Failure> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| internal(&error))?;
    // Started by the main thread: the keeper dies with the thread that started it.
    let mut keeper = Command::new(own_program()?)
        .args(["keep", "--parent", &std::process::id().to_string(), "--"])
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(|error| internal(&error))?;
    runtime()?.block_on(wait(&mut keeper, ours))
}

/// Waits for the word of the keeper or its end, and hands on what this process is told by signals.
async fn wait(keeper: &mut Child, channel: UnixStream) -> Result<Exit, Failure> {
    let failed = |error: io::Error| internal(&error);
    let pid = i32::try_from(keeper.id()).ok().and_then(Pid::from_raw);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let word = tokio::task::spawn_blocking(move || {
        let (mut channel, mut status) = (channel, [0]);
        channel.read(&mut status).map(|count| (count == 1).then_some(status[0]))
    });
    tokio::pin!(word);
    let status = loop {
        let told = tokio::select! {
            word = &mut word => break word.map_err(|error| internal(&error))?.map_err(failed)?,
            _ = interrupt.recv() => Signal::INT,
            _ = terminate.recv() => Signal::TERM,
        };
        if let Some(pid) = pid {
            // It may have ended this moment; it is not yet waited for, so that its number is its own.
            let _ = rustix::process::kill_process(pid, told);
        }
    };
    if let Some(status) = status {
        return Ok(Exit::of_status(i32::from(status)));
    }
    let ended = keeper.wait().map_err(failed)?;
    match ended.code() {
        Some(status) => Ok(Exit::of_status(status)),
        None => Err(Failure::words(Exit::Internal, format!("the run ended with {ended}"), None)),
    }
}

/// `loadgauge keep`: the keeper.
pub(super) fn keep(arguments: &KeepArguments) -> Result<Exit, Failure> {
    let failed = |error: rustix::io::Errno| internal(&io::Error::from(error));
    // Signals of the terminal are for the parent, which hands them on.
    rustix::process::setsid().map_err(failed)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    // The parent may have died before the request, and nobody would send the signal any more.
    if rustix::process::getppid() != Pid::from_raw(arguments.parent) {
        return Err(Failure::words(Exit::Internal, "whoever waited for the run is gone", None));
    }
    let channel = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0).map_err(failed)?;
    let parent = Parent { channel: UnixStream::from(channel) };
    match arguments.own().command {
        Subcommand::Run(arguments) => run_here(&arguments, Some(&parent)),
        _ => Err(Failure::words(Exit::Usage, "only a run keeps machines", None)),
    }
}

impl Parent {
    /// Lets the parent leave with the status of the run, and goes on without it.
    ///
    /// To be called by the main thread, which asked to die with the parent.
    pub(super) fn leave(&self, exit: Exit) -> Result<(), Failure> {
        let failed = |error: rustix::io::Errno| internal(&io::Error::from(error));
        rustix::process::set_parent_process_death_signal(None).map_err(failed)?;
        (&self.channel).write_all(&[exit.status()]).map_err(|error| internal(&error))?;
        // Whoever reads what the run printed waits for the end of it.
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        let null = null.map_err(|error| internal(&error))?;
        rustix::stdio::dup2_stdin(&null).map_err(failed)?;
        rustix::stdio::dup2_stdout(&null).map_err(failed)?;
        rustix::stdio::dup2_stderr(&null).map_err(failed)
    }
}

/// Lives on until the last machine that was kept is stopped or dead, or this process is told to end.
pub(super) async fn hold(kept: &RetainedMachines, supervisor: &Supervisor) {
    let told = async {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::select! {
        () = kept.ended() => {}
        () = told => kept.stop_all().await,
    }
    supervisor.stop_all().await;
}
