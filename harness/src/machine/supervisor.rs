// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use camino::Utf8Path;
use loadgauge_host::{FileError, Hint, Scratch, scratch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::layout::{LONGEST_SOCKET, Layout};
use super::qemu::children::{ChildRecord, Children};

/// Owns all machines of a run, and stops them when the run or the harness ends.
///
/// Four mechanisms remove what machines leave. [`Supervisor::stop_all`] stops every machine and waits. The
/// kernel kills each QEMU when the harness dies for any reason. The shell that watches over this process
/// ([`loadgauge_host::children`]) then removes the directory of sockets and disks. After a crash of the host,
/// the next harness removes that directory ([`loadgauge_host::scratch`]).
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
    scratch: Scratch,
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
}

impl Hint for SupervisorError {
    fn hint(&self) -> Option<String> {
        Some("set TMPDIR to a writable directory with a short path".to_owned())
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
        self.runtime.scratch.path()
    }

    /// The paths of a new machine, whose runtime directory does not exist yet.
    pub(crate) fn layout(&self, records: &Utf8Path, relay: &Utf8Path) -> Layout {
        let number = self.runtime.next.fetch_add(1, Ordering::Relaxed);
        Layout::new(records, self.runtime.scratch.path().join(number.to_string()), relay)
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
            scratch::sweep(parent);
            // Mode 0700: the sockets in it have no access control of their own.
            match Scratch::new_in(parent) {
                Ok(scratch) if fits(scratch.path()) => return Ok(Self { scratch, next: AtomicU32::new(0) }),
                Ok(_) => last = Some(SupervisorError::TooLong { path: parent.display().to_string() }),
                Err(error) => last = Some(error.into()),
            }
        }
        Err(last.unwrap_or(SupervisorError::TooLong { path: String::new() }))
    }
}

/// Whether the sockets of ten thousand machines have paths that are short enough.
fn fits(runtime: &Utf8Path) -> bool {
    let layout = Layout::new("", runtime.join("9999"), "");
    layout.journal_socket().as_str().len().max(layout.console_socket().as_str().len()) <= LONGEST_SOCKET
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use camino::Utf8PathBuf;

    use super::*;

    #[test]
    fn its_directory_is_private_and_is_removed_with_it() {
        let supervisor = Supervisor::new().expect("a supervisor");
        let path = supervisor.runtime.scratch.path().to_owned();
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o700);
        std::fs::create_dir(path.join("0")).expect("made");
        drop(supervisor);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_detected() {
        assert!(fits("/tmp/loadgauge-abcdef".into()));
        assert!(!fits(&Utf8PathBuf::from(format!("/{}", "x".repeat(100)))));
    }
}
