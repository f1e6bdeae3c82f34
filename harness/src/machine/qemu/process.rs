// SPDX-License-Identifier: Apache-2.0
//! Child processes that do not outlive the harness, however it ends.
use std::fmt;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use camino::Utf8Path;
use loadgauge_host::fs;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a process may take to exit after each attempt to stop it, before the next one.
pub(crate) const GRACE: Duration = Duration::from_secs(3);
/// How many lines of a process's log are shown.
const LOG_LINES: usize = 20;
/// How much of the end of a log is read for them, in bytes: a guest may cause any number of messages.
const LOG_BYTES: u64 = 64 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The thread that forks all children.
///
/// The kernel kills a child with a death signal when the *thread* that forked it ends, and no thread of an
/// asynchronous runtime is sure to live as long as the process: a worker that blocks in place retires, and a
/// test drops its runtime. This thread never ends.
fn forker() -> &'static Sender<Job> {
    static FORKER: OnceLock<Sender<Job>> = OnceLock::new();
    FORKER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        let run = move || jobs.into_iter().for_each(|job| job());
        if let Err(error) = std::thread::Builder::new().name("forker".into()).spawn(run) {
            // The receiver was dropped with the closure, so that every spawn fails.
            tracing::error!(%error, "cannot start the thread that starts processes");
        }
        sender
    })
}

/// Starts a process in a process group of its own, which the kernel kills when the harness dies. Ctrl-C at
/// the terminal reaches the harness only, which then stops its children in order.
///
/// # Errors
/// The program cannot be started, or the harness died meanwhile.
pub(crate) async fn spawn(command: Command) -> io::Result<Child> {
    let mut command = tokio::process::Command::from(command);
    command.process_group(0).kill_on_drop(true);
    die_with_parent(&mut command);
    let runtime = Handle::current();
    let (sender, child) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts processes has ended");
    let job = move || {
        let _runtime = runtime.enter();
        // If the caller was cancelled, the receiver is gone, and the child is killed when it is dropped.
        let _ = sender.send(command.spawn());
    };
    forker().send(Box::new(job)).map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}

/// Makes the kernel send SIGKILL to the child when its parent dies (`PR_SET_PDEATHSIG`, prctl(2)).
#[expect(unsafe_code, reason = "only between fork and exec can a child ask for its parent's death signal")]
fn die_with_parent(command: &mut tokio::process::Command) {
    let parent = rustix::process::getpid();
    let ask = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // If the parent died before the request, no signal follows.
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

/// What made a process exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopMethod {
    /// it exited by itself, or when it was asked to
    Quit,
    /// SIGTERM
    Terminated,
    /// SIGKILL, sent to its process group
    Killed,
}

/// Waits for the exit of a process that was asked to exit. Sends SIGTERM after `grace`, and SIGKILL after
/// twice that time.
///
/// # Errors
/// The process cannot be waited for.
pub(crate) async fn end(child: &mut Child, grace: Duration) -> io::Result<(ExitStatus, StopMethod)> {
    if let Ok(status) = timeout(grace, child.wait()).await {
        return Ok((status?, StopMethod::Quit));
    }
    // Without an ID, the process was waited for, and the number may be that of another one.
    if let Some(pid) = pid(child) {
        tracing::warn!(pid = pid.as_raw_nonzero(), "a process does not exit when asked to: SIGTERM");
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
    if let Ok(status) = timeout(grace, child.wait()).await {
        return Ok((status?, StopMethod::Terminated));
    }
    kill(child).await
}

/// Kills the process group of a process, and waits for its exit.
///
/// # Errors
/// The process cannot be waited for.
pub(crate) async fn kill(child: &mut Child) -> io::Result<(ExitStatus, StopMethod)> {
    if let Some(pid) = pid(child) {
        tracing::warn!(pid = pid.as_raw_nonzero(), "a process is stopped or ignores SIGTERM: SIGKILL");
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    Ok((child.wait().await?, StopMethod::Killed))
}

/// The ID of a process, unless it was waited for.
fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// The state of a process (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// running, or sleeping until an event
    #[serde(alias = "runs")]
    Running,
    /// stopped by a signal or a debugger
    #[serde(alias = "is stopped")]
    Stopped,
    /// waiting for the host's disk or network, without reacting to signals
    #[serde(alias = "waits for a disk or a network of the host")]
    Uninterruptible,
    /// exited
    #[serde(alias = "is gone")]
    Gone,
}

impl ProcessState {
    /// Reads the state of a process.
    pub(crate) fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state follows the program's name, which is in parentheses and may contain some.
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        match state {
            Some('T' | 't') => Self::Stopped,
            Some('D') => Self::Uninterruptible,
            Some('Z') | None => Self::Gone,
            Some(_) => Self::Running,
        }
    }
}

/// A predicate, such as `is stopped`.
impl fmt::Display for ProcessState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Running => "is running",
            Self::Stopped => "is stopped",
            Self::Uninterruptible => "waits for a disk or a network of the host",
            Self::Gone => "is gone",
        })
    }
}

/// An exit status as a text.
pub(crate) fn describe_exit(status: io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// The last lines of a log.
pub(crate) fn log_tail(log: &Utf8Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::open(log).map_err(|error| error.source)?;
        let begin = file.metadata()?.len().saturating_sub(LOG_BYTES);
        file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        file.take(LOG_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    // Without a log there is nothing to show.
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_killed() {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; while :; do sleep 1; done"]);
        let mut child = spawn(command).await.expect("started");
        let (status, method) = end(&mut child, Duration::from_millis(300)).await.expect("waited for");
        assert!(!status.success());
        assert_eq!(method, StopMethod::Killed);
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error() {
        let error = spawn(Command::new("/nonexistent/program")).await.expect_err("it does not exist");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_end_of_a_long_log_is_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = Utf8Path::from_path(directory.path()).expect("UTF-8").join("log");
        assert_eq!(log_tail(&log), "", "it does not exist");
        let lines: Vec<String> = (0..20_000).map(|number| format!("line {number}")).collect();
        fs::write(&log, lines.join("\n") + "\n").expect("written");
        assert_eq!(log_tail(&log), lines[19_980..].join("\n"));
    }

    #[test]
    fn the_state_of_a_process_is_read() {
        assert_eq!(ProcessState::of(std::process::id()), ProcessState::Running);
        assert_eq!(ProcessState::of(0), ProcessState::Gone);
    }
}
