// SPDX-License-Identifier: Apache-2.0
//! Owns the processes of a machine, from their start to their exit.
use std::io;
use std::process::ExitStatus;

use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::health::symptom::Symptom;
use super::layout::Layout;
use super::qemu::children::Registration;
use super::qemu::process::{self, GRACE, ProcessState, StopMethod, describe_exit, log_tail};
use super::qemu::qmp::Qmp;
use super::runtime_directory::RuntimeDirectory;
use super::supervisor::Supervisor;

/// How a machine's QEMU exited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// exit status or signal
    pub status: String,
    /// what made it exit
    pub method: StopMethod,
}

impl Stopped {
    pub(crate) fn unknown() -> Self {
        Self { status: "unknown status".into(), method: StopMethod::Killed }
    }
}

/// The processes of a machine and what is released after their exit.
#[derive(Debug)]
pub(crate) struct ProcessParts {
    pub(crate) child: Child,
    pub(crate) tpm: Option<Child>,
    pub(crate) registration: Registration,
    pub(crate) tpm_registration: Option<Registration>,
    pub(crate) directory: RuntimeDirectory,
    pub(crate) layout: Layout,
    /// the tasks that record the guest's output
    pub(crate) readers: Vec<JoinHandle<()>>,
    /// keeps the parent directory of `directory`
    pub(crate) supervisor: Supervisor,
}

/// Waits until QEMU exits, or stops it when the token is cancelled, and releases the machine's resources.
pub(crate) async fn own(
    parts: ProcessParts,
    qmp: Qmp,
    token: CancellationToken,
    symptoms: mpsc::Sender<Symptom>,
    stopped: watch::Sender<Option<Stopped>>,
) {
    let ProcessParts {
        mut child,
        mut tpm,
        registration,
        tpm_registration,
        directory,
        layout,
        readers,
        supervisor,
    } = parts;
    let ended = loop {
        tokio::select! {
            status = child.wait() => {
                let status = describe_exit(status);
                let symptom = Symptom::Exited { status: status.clone(), log: log_tail(&layout.qemu_log()) };
                // The channel is closed if the machine is being stopped at the same time.
                let _ = symptoms.try_send(symptom);
                break Stopped { status, method: StopMethod::Quit };
            }
            status = wait_if_any(tpm.as_mut()) => {
                let log = log_tail(&layout.tpm_log());
                let _ = symptoms.try_send(Symptom::Tpm { status: describe_exit(status), log });
                tpm = None;
            }
            () = token.cancelled() => break stop(&mut child, &qmp).await,
        }
    };
    drop(registration);
    // The streams end with QEMU: the tasks only have to write what they have read.
    for reader in readers {
        if timeout(GRACE, reader).await.is_err() {
            tracing::warn!("the record of the guest's console or journal may be incomplete");
        }
    }
    if let Some(tpm) = &mut tpm {
        // swtpm exits by itself after QEMU.
        if let Err(error) = process::end(tpm, GRACE).await {
            tracing::error!(%error, "cannot wait for the TPM");
        }
    }
    drop(tpm_registration);
    drop(directory);
    stopped.send_replace(Some(ended));
    drop(supervisor);
}

/// Waits until a process exits; without one, forever.
async fn wait_if_any(child: Option<&mut Child>) -> io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

/// Asks QEMU to quit, and kills it if it does not. A process that is stopped reacts to SIGKILL only.
async fn stop(child: &mut Child, qmp: &Qmp) -> Stopped {
    let ended = if child.id().map(ProcessState::of) == Some(ProcessState::Stopped) {
        process::kill(child).await
    } else {
        // The answer may be lost with the connection: only the exit of the process counts.
        let _ = timeout(GRACE, qmp.execute("quit", None)).await;
        process::end(child, GRACE).await
    };
    match ended {
        Ok((status, method)) => Stopped { status: status.to_string(), method },
        Err(error) => {
            tracing::error!(%error, "cannot wait for QEMU");
            Stopped::unknown()
        }
    }
}
