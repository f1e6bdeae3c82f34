// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::layout::{LONGEST_SOCKET, Layout};
use super::leftovers::{self, PREFIX};
use crate::machine::qemu::children::{ChildRecord, Children};

/// Keeps all machines of a run, and ends them in order, or with the harness.
///
/// Four things see to it that nothing is left. [`Supervisor::stop_all`] ends every machine and waits.
/// The kernel kills each QEMU when the harness dies, however it does. A shell that waits for the
/// end of a pipe then removes the directory of sockets and disks. And what a crash of the host left
/// all the same is removed by the next harness, which judges by a lock.
#[derive(Debug, Clone)]
pub struct Supervisor {
    token: CancellationToken,
    tasks: TaskTracker,
    children: Children,
    runtime: Arc<Runtime>,
}

/// The directory that all machines have theirs in.
#[derive(Debug)]
struct Runtime {
    path: Utf8PathBuf,
    directory: Option<TempDir>,
    /// tells other harnesses that this one lives
    _claim: File,
    janitor: Child,
    next: AtomicU32,
}

/// There is no place for machines to run.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// no directory can be made
    #[error("cannot create a directory for sockets and disks in `{path}`")]
    Directory {
        /// where
        path: String,
        /// why not
        source: io::Error,
    },
    /// every place has a path that is too long for a socket
    #[error("the path `{path}` is too long: a socket in it would have more than {LONGEST_SOCKET} bytes")]
    TooLong {
        /// the directory
        path: String,
    },
    /// the shell that cleans up after a killed harness cannot be started
    #[error("cannot run `sh`, which removes temporary files should this process be killed")]
    Janitor(#[source] io::Error),
}

impl Hint for SupervisorError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Directory { .. } | Self::TooLong { .. } => {
                Some("set TMPDIR to a directory with a short path that can be written".to_owned())
            }
            Self::Janitor(_) => None,
        }
    }
}

impl Supervisor {
    /// A supervisor without machines, and its directory in the place for temporary files: not in
    /// `XDG_RUNTIME_DIR`, which lies in memory and is too small for disks.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new() -> Result<Self, SupervisorError> {
        let runtime = Arc::new(Runtime::create()?);
        Ok(Self {
            token: CancellationToken::new(),
            tasks: TaskTracker::new(),
            children: Children::default(),
            runtime,
        })
    }

    /// Stops all machines and waits until nothing is left of them. Machines that are started
    /// afterwards end at once.
    pub async fn stop_all(&self) {
        self.token.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.children.kill();
    }

    /// The processes of its machines that run at the moment.
    pub fn children(&self) -> Vec<ChildRecord> {
        self.children.all()
    }

    /// Where processes are entered.
    pub(crate) fn registry(&self) -> &Children {
        &self.children
    }

    /// Where the sockets and disks of its machines lie.
    pub fn directory(&self) -> &Utf8Path {
        &self.runtime.path
    }

    /// The places of a further machine. Its directory does not exist yet.
    pub(crate) fn layout(&self, kept: &Utf8Path, relay: &Utf8Path) -> Layout {
        let number = self.runtime.next.fetch_add(1, Ordering::Relaxed);
        Layout::new(kept, self.runtime.path.join(number.to_string()), relay)
    }

    /// Cancelled when all machines shall stop.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.child_token()
    }

    /// Where the tasks run that own processes: [`Supervisor::stop_all`] waits for them.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}

impl Runtime {
    fn create() -> Result<Self, SupervisorError> {
        let preferred = std::env::temp_dir();
        let mut last = None;
        for place in [preferred.as_path(), "/tmp".as_ref()] {
            leftovers::sweep(place);
            let shown = place.display().to_string();
            let fail = |source| SupervisorError::Directory { path: shown.clone(), source };
            // Only its owner may enter it (mode 0700): a socket has no lock of its own.
            let private = Permissions::from_mode(0o700);
            let made = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir_in(place);
            let made = made.map_err(fail);
            match made {
                Ok(directory) => match Utf8PathBuf::from_path_buf(directory.path().to_owned()) {
                    Ok(path) if fits(&path) => return Self::with(directory, path),
                    _ => last = Some(SupervisorError::TooLong { path: shown }),
                },
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(SupervisorError::TooLong { path: String::new() }))
    }

    fn with(directory: TempDir, path: Utf8PathBuf) -> Result<Self, SupervisorError> {
        let claim = leftovers::claim(&path)
            .map_err(|source| SupervisorError::Directory { path: path.to_string(), source })?;
        let janitor = janitor(&path).map_err(SupervisorError::Janitor)?;
        Ok(Self { path, directory: Some(directory), _claim: claim, janitor, next: AtomicU32::new(0) })
    }
}

/// Whether the sockets of ten thousand machines have paths that are short enough.
fn fits(runtime: &Utf8Path) -> bool {
    let layout = Layout::new("", runtime.join("9999"), "");
    layout.journal_socket().as_str().len().max(layout.console_socket().as_str().len()) <= LONGEST_SOCKET
}

/// Starts a shell that removes a directory once the other end of its standard input is closed, as the
/// kernel does for a process that was killed. Signals to the harness's terminal do not reach it.
fn janitor(path: &Utf8Path) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", "trap '' INT TERM HUP; read -r _; rm -rf -- \"$1\"", "sh", path.as_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .process_group(0)
        .spawn()
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.directory.take().map(TempDir::close) {
            tracing::warn!(path = %self.path, %error, "cannot remove the directory of sockets and disks");
        }
        // It finds nothing left to do; waited for, so that it does not stay as a zombie.
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_directory_is_private_and_goes_with_it() {
        let supervisor = Supervisor::new().expect("a supervisor");
        let path = supervisor.runtime.path.clone();
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o700);
        std::fs::create_dir(path.join("0")).expect("made");
        drop(supervisor);
        assert!(!path.exists());
    }

    #[test]
    fn the_janitor_removes_what_a_killed_harness_leaves() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.keep()).expect("UTF-8");
        std::fs::write(path.join("disk"), "x").expect("written");
        let mut janitor = janitor(&path).expect("started");
        drop(janitor.stdin.take());
        assert!(janitor.wait().expect("ended").success());
        assert!(!path.exists());
    }

    #[test]
    fn a_long_place_is_seen() {
        assert!(fits("/tmp/loadgauge-abcdef".into()));
        assert!(!fits(&Utf8PathBuf::from(format!("/{}", "x".repeat(100)))));
    }
}
