// SPDX-License-Identifier: Apache-2.0
//! Runs scenarios in another process, so that their machines can outlive the command.
//!
//! The kernel kills a machine with the process that started it. Where machines may be left running, a
//! second process (`loadgauge keep`) therefore executes the run in a session of its own, while this one
//! waits and forwards its signals. Until the end of the run the second process dies with this one. Then
//! it sends its exit status and stays until the last machine has ended.
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};

use crate::runner::Claim;

use super::runtime::{self, own_program};
use super::{Exit, Failure};

/// Repeats this command in a detached process, and returns the exit status of the run.
#[expect(
    clippy::disallowed_methods,
    reason = "the program is this one, by its own path, and outlives this process"
)]
pub(super) fn run() -> Result<Exit, Failure> {
    let (channel, stdin) = UnixStream::pair().map_err(Failure::internal)?;
    // Started by the main thread: the child dies with the thread that started it.
    let mut child = Command::new(own_program()?)
        .args(["keep", "--parent", &std::process::id().to_string()])
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::from(OwnedFd::from(stdin)))
        .spawn()
        .map_err(Failure::internal)?;
    runtime::start()?.block_on(wait(&mut child, channel))
}

/// Waits for the exit status of the run or the end of the process, and forwards signals.
async fn wait(child: &mut Child, channel: UnixStream) -> Result<Exit, Failure> {
    let _claim = Claim::take();
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::internal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::internal)?;
    let received = tokio::task::spawn_blocking(move || {
        let (mut channel, mut status) = (channel, [0]);
        channel.read(&mut status).map(|count| (count == 1).then_some(status[0]))
    });
    tokio::pin!(received);
    let status = loop {
        let signal = tokio::select! {
            received = &mut received => {
                break received.map_err(Failure::internal)?.map_err(Failure::internal)?;
            }
            _ = interrupt.recv() => Signal::INT,
            _ = terminate.recv() => Signal::TERM,
        };
        if let Some(pid) = pid {
            // The child may have just ended, but it was not reaped: its number is not used again.
            let _ = rustix::process::kill_process(pid, signal);
        }
    };
    if let Some(status) = status {
        return Ok(Exit::of_status(i32::from(status)));
    }
    let ended = child.wait().map_err(Failure::internal)?;
    match ended.code() {
        Some(status) => Ok(Exit::of_status(status)),
        None => Err(Failure::new(Exit::Internal, format!("the process of the run ended with {ended}"))),
    }
}
