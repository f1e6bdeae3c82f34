// SPDX-License-Identifier: Apache-2.0
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure};
use crate::machine::Supervisor;
use crate::runner::{Claim, RetainedMachines};

/// The process that waits for a detached run. It holds the other end of standard input.
#[derive(Debug)]
pub(super) struct Parent {
    channel: UnixStream,
}

fn failed(error: Errno) -> Failure {
    Failure::internal(io::Error::from(error))
}

impl Parent {
    /// Gives this process a session of its own, and binds its life to the parent.
    pub(super) fn attach(pid: i32) -> Result<Self, Failure> {
        // Signals of the terminal are for the parent, which forwards them.
        rustix::process::setsid().map_err(failed)?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
        // A parent that died before that call would never cause the signal.
        if rustix::process::getppid() != Pid::from_raw(pid) {
            return Err(Failure::new(Exit::Internal, "the process that waited for the run has ended"));
        }
        let channel = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0).map_err(failed)?;
        Ok(Self { channel: UnixStream::from(channel) })
    }

    /// Sends the exit status of the run to the parent, which then exits, and goes on without it.
    ///
    /// Call it on the main thread, to which the death signal belongs.
    pub(super) fn release(&self, exit: Exit) -> Result<(), Failure> {
        rustix::process::set_parent_process_death_signal(None).map_err(failed)?;
        (&self.channel).write_all(&[exit.status()]).map_err(Failure::internal)?;
        // A reader of the command's output waits until every process has closed it.
        let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(Failure::internal)?;
        rustix::stdio::dup2_stdin(&null).map_err(failed)?;
        rustix::stdio::dup2_stdout(&null).map_err(failed)?;
        rustix::stdio::dup2_stderr(&null).map_err(failed)
    }
}

/// Returns when the last machine that was left running has ended, or after a signal, which stops them.
pub(super) async fn hold(kept: &RetainedMachines, supervisor: &Supervisor) {
    let _claim = Claim::take();
    let signalled = async {
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
        () = signalled => kept.stop_all().await,
    }
    supervisor.stop_all().await;
}
