// SPDX-License-Identifier: Apache-2.0
//! Child processes that do not outlive the harness, however it ends.
use std::io;
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a process may take to end after each rung of the ladder, before the next is tried.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

type Job = Box<dyn FnOnce() + Send>;

/// The thread that forks all children.
///
/// The kernel kills a child with a death signal when the *thread* that forked it ends, and no thread
/// of an asynchronous runtime is sure to live as long as the process: a worker that blocks in place
/// retires, a runtime in a test is dropped. This one never ends.
fn forker() -> &'static Sender<Job> {
    static FORKER: OnceLock<Sender<Job>> = OnceLock::new();
    FORKER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        let run = move || jobs.into_iter().for_each(|job| job());
        if let Err(error) = std::thread::Builder::new().name("forker".into()).spawn(run) {
            // Nothing is lost: the receiver is gone with the closure, and every spawn says so.
            tracing::error!(%error, "cannot start the thread that starts processes");
        }
        sender
    })
}

/// Starts a process in a process group of its own (a Ctrl-C at the terminal is for the harness, which
/// then ends its children in order), to be killed by the kernel when the harness is no more.
///
/// # Errors
/// The program cannot be started, or the harness died meanwhile.
pub(crate) async fn spawn(mut command: Command) -> io::Result<Child> {
    command.process_group(0).kill_on_drop(true);
    die_with_parent(&mut command);
    let runtime = Handle::current();
    let (sender, child) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    let job = move || {
        let _runtime = runtime.enter();
        // The receiver is gone if the caller was cancelled; the child is then killed as it drops.
        let _ = sender.send(command.spawn());
    };
    forker().send(Box::new(job)).map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}

/// Has the kernel send SIGKILL to the child when its parent ends (`PR_SET_PDEATHSIG`, prctl(2)).
#[expect(unsafe_code, reason = "only between fork and exec can a child ask for its parent's death signal")]
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let ask = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the request: then nobody would send the signal any more.
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::from(rustix::io::Errno::SRCH))
        }
    };
    // SAFETY: the closure runs in the forked child of a process with many threads, where only
    // async-signal-safe functions may be called: it makes two system calls, allocates nothing, and
    // takes no lock.
    unsafe { command.pre_exec(ask) };
}

/// Which rung of the ladder a process needed to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopMethod {
    /// it had ended by itself, or did as it was asked
    Asked,
    /// SIGTERM
    Terminated,
    /// SIGKILL, together with its process group
    Killed,
}

/// Waits until a process ends, and presses harder each time it has not within `patience`.
///
/// The process has been asked already, in its own way.
///
/// # Errors
/// Its status cannot be had.
pub(crate) async fn end(child: &mut Child, patience: Duration) -> io::Result<(ExitStatus, StopMethod)> {
    if let Ok(status) = timeout(patience, child.wait()).await {
        return Ok((status?, StopMethod::Asked));
    }
    // No id: it has ended and been waited for, and the number may be somebody else's.
    if let Some(pid) = pid(child) {
        tracing::warn!(pid = pid.as_raw_nonzero(), "a process does not end as it was asked: SIGTERM");
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
    if let Ok(status) = timeout(patience, child.wait()).await {
        return Ok((status?, StopMethod::Terminated));
    }
    kill(child).await
}

/// Kills a process, together with its process group, and waits for its end.
///
/// # Errors
/// Its status cannot be had.
pub(crate) async fn kill(child: &mut Child) -> io::Result<(ExitStatus, StopMethod)> {
    if let Some(pid) = pid(child) {
        tracing::warn!(
            pid = pid.as_raw_nonzero(),
            "a process is stopped or does not end upon SIGTERM: SIGKILL"
        );
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    Ok((child.wait().await?, StopMethod::Killed))
}

/// The process's id, unless it has ended.
pub(crate) fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_killed() {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; while :; do sleep 1; done"]);
        let mut child = spawn(command).await.expect("started");
        let (status, rung) = end(&mut child, Duration::from_millis(300)).await.expect("waited for");
        assert!(!status.success());
        assert_eq!(rung, StopMethod::Killed);
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_an_error() {
        let error = spawn(Command::new("/nonexistent/program")).await.expect_err("there is none");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
