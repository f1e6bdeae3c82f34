// SPDX-License-Identifier: Apache-2.0
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{FileError, Hint, Tool};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::layout::{LONGEST_SOCKET, Layout};
use super::qemu::children::{ChildRecord, Children};
use super::stale_directory::{self, PREFIX};

/// Owns all machines of a run, and stops them when the run or the harness ends.
///
/// Four mechanisms remove what machines leave. [`Supervisor::stop_all`] stops every machine and waits. The
/// kernel kills each QEMU when the harness dies for any reason. A shell that waits for the end of a pipe
/// then removes the directory of sockets and disks. After a crash of the host, the next harness removes
/// that directory, because no process has locked its lock file.
#[derive(Debug, Clone)]
pub struct Supervisor {
    token: CancellationToken,
    tasks: TaskTracker,
    children: Children,
    runtime: Arc<Runtime>,
}

/// The parent of all machines' runtime directories.
#[derive(Debug)]
struct Runtime {
    path: Utf8PathBuf,
    directory: Option<TempDir>,
    /// the lock that shows other harnesses that this one runs
    _claim: File,
    cleanup_shell: Child,
    next: AtomicU32,
}

/// The directory for machines cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// the path is too long for sockets
    #[error("the path `{path}` is too long: sockets in it would exceed {LONGEST_SOCKET} bytes")]
    TooLong {
        /// the directory for temporary files
        path: String,
    },
    /// the shell that removes the directory of a killed harness cannot be started
    #[error("cannot run `sh`, which removes temporary files if this process is killed")]
    CleanupShell(#[source] io::Error),
}

impl Hint for SupervisorError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::File(_) | Self::TooLong { .. } => {
                Some("set TMPDIR to a writable directory with a short path".to_owned())
            }
            Self::CleanupShell(_) => None,
        }
    }
}

impl Supervisor {
    /// Creates a supervisor without machines, and its directory among the temporary files. It is not in
    /// `XDG_RUNTIME_DIR`, a file system in memory that is too small for disks.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn new() -> Result<Self, SupervisorError> {
        let runtime = Arc::new(Runtime::create()?);
        Ok(Self {
            token: CancellationToken::new(),
            tasks: TaskTracker::new(),
            children: Children::default(),
            runtime,
        })
    }

    /// Stops all machines and waits until their processes and files are gone. Machines that are started
    /// later stop at once.
    pub async fn stop_all(&self) {
        self.token.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.children.kill();
    }

    /// The running processes of its machines.
    pub fn children(&self) -> Vec<ChildRecord> {
        self.children.all()
    }

    /// The registry of its machines' processes.
    pub(crate) fn registry(&self) -> &Children {
        &self.children
    }

    /// The directory of its machines' sockets and disks.
    pub fn directory(&self) -> &Utf8Path {
        &self.runtime.path
    }

    /// The paths of a new machine, whose runtime directory does not exist yet.
    pub(crate) fn layout(&self, records: &Utf8Path, relay: &Utf8Path) -> Layout {
        let number = self.runtime.next.fetch_add(1, Ordering::Relaxed);
        Layout::new(records, self.runtime.path.join(number.to_string()), relay)
    }

    /// A token that is cancelled when all machines are to stop.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.child_token()
    }

    /// The tasks that [`Supervisor::stop_all`] waits for, those that own processes among them.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}

impl Runtime {
    fn create() -> Result<Self, SupervisorError> {
        let preferred = std::env::temp_dir();
        let mut last = None;
        for parent in [preferred.as_path(), "/tmp".as_ref()] {
            stale_directory::sweep(parent);
            // Mode 0700: the sockets in it have no access control of their own.
            let private = Permissions::from_mode(0o700);
            let created = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir_in(parent);
            match created {
                Ok(directory) => match Utf8PathBuf::from_path_buf(directory.path().to_owned()) {
                    Ok(path) if fits(&path) => return Self::with(directory, path),
                    _ => last = Some(SupervisorError::TooLong { path: parent.display().to_string() }),
                },
                Err(error) => last = Some(FileError::at("create a directory in", parent)(error).into()),
            }
        }
        Err(last.unwrap_or(SupervisorError::TooLong { path: String::new() }))
    }

    fn with(directory: TempDir, path: Utf8PathBuf) -> Result<Self, SupervisorError> {
        let claim = stale_directory::claim(&path)?;
        let cleanup_shell = cleanup_shell(&path).map_err(SupervisorError::CleanupShell)?;
        Ok(Self { path, directory: Some(directory), _claim: claim, cleanup_shell, next: AtomicU32::new(0) })
    }
}

/// Whether the sockets of ten thousand machines have paths that are short enough.
fn fits(runtime: &Utf8Path) -> bool {
    let layout = Layout::new("", runtime.join("9999"), "");
    layout.journal_socket().as_str().len().max(layout.console_socket().as_str().len()) <= LONGEST_SOCKET
}

/// Starts a shell that removes a directory when the other end of its standard input is closed, which the
/// kernel does for a killed process. Signals of the harness's terminal do not reach it.
fn cleanup_shell(path: &Utf8Path) -> io::Result<Child> {
    Tool::find("sh")
        .map_err(io::Error::other)?
        .command()
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
        // The shell has nothing left to remove, and exits. Waiting for it avoids a zombie.
        drop(self.cleanup_shell.stdin.take());
        let _ = self.cleanup_shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_directory_is_private_and_is_removed_with_it() {
        let supervisor = Supervisor::new().expect("a supervisor");
        let path = supervisor.runtime.path.clone();
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o700);
        std::fs::create_dir(path.join("0")).expect("made");
        drop(supervisor);
        assert!(!path.exists());
    }

    #[test]
    fn the_cleanup_shell_removes_the_directory_of_a_killed_harness() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(directory.keep()).expect("UTF-8");
        std::fs::write(path.join("disk"), "x").expect("written");
        let mut shell = cleanup_shell(&path).expect("started");
        drop(shell.stdin.take());
        assert!(shell.wait().expect("ended").success());
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_detected() {
        assert!(fits("/tmp/loadgauge-abcdef".into()));
        assert!(!fits(&Utf8PathBuf::from(format!("/{}", "x".repeat(100)))));
    }
}
