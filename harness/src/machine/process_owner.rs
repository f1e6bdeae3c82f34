// SPDX-License-Identifier: Apache-2.0
//! Owns the process of a machine to its end.
use std::io;
use std::process::ExitStatus;

use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::machine::directory::RuntimeDirectory;
use crate::machine::health::monitor::Symptom;
use crate::machine::health::poll;
use crate::machine::layout::Layout;
use crate::machine::qemu::children::Entered;
use crate::machine::qemu::process::{self, PATIENCE, StopMethod};
use crate::machine::qemu::qmp::Qmp;
use crate::machine::start::words;
use crate::machine::supervisor::Supervisor;

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// QEMU's exit status or signal
    pub status: String,
    /// what it took
    pub rung: StopMethod,
}

impl Stopped {
    pub(crate) fn unknown() -> Self {
        Self { status: "unknown status".into(), rung: StopMethod::Killed }
    }
}

/// What a machine's process lives on.
#[derive(Debug)]
pub(crate) struct ProcessParts {
    pub(crate) child: Child,
    pub(crate) tpm: Option<Child>,
    /// their lines in the registry
    pub(crate) entered: Entered,
    pub(crate) entered_tpm: Option<Entered>,
    pub(crate) directory: RuntimeDirectory,
    pub(crate) layout: Layout,
    /// who writes down what the guest says, to the last of it
    pub(crate) readers: Vec<JoinHandle<()>>,
    /// so that the directory of all machines outlives this one's
    pub(crate) supervisor: Supervisor,
}

/// Waits for the end of QEMU, or for the word to end it, and removes what lived with it.
pub(crate) async fn keep(
    kept: ProcessParts,
    qmp: Qmp,
    token: CancellationToken,
    symptoms: mpsc::Sender<Symptom>,
    stopped: watch::Sender<Option<Stopped>>,
) {
    let ProcessParts { mut child, mut tpm, entered, entered_tpm, directory, layout, readers, supervisor } =
        kept;
    let mut tpm_lives = tpm.is_some();
    let ended = loop {
        tokio::select! {
            status = child.wait() => {
                let status = in_words(status);
                let symptom = Symptom::Exited { status: status.clone(), words: words(&layout.qemu_log()) };
                // Nobody reads any more when the machine is being stopped at the same time.
                let _ = symptoms.try_send(symptom);
                break Stopped { status, rung: StopMethod::Asked };
            }
            status = ended(tpm.as_mut()), if tpm_lives => {
                let symptom = Symptom::Tpm { status: in_words(status), words: words(&layout.tpm_log()) };
                let _ = symptoms.try_send(symptom);
                tpm_lives = false;
            }
            () = token.cancelled() => break end(&mut child, &qmp).await,
        }
    };
    drop(entered);
    // QEMU's end is the end of their streams: they have only to write what they have read.
    for reader in readers {
        if timeout(PATIENCE, reader).await.is_err() {
            tracing::warn!("the end of the guest's console or journal may be missing from its file");
        }
    }
    if let Some(tpm) = &mut tpm {
        // It ends by itself when QEMU is gone.
        if let Err(error) = process::end(tpm, PATIENCE).await {
            tracing::error!(%error, "cannot wait for the TPM");
        }
    }
    drop(entered_tpm);
    drop(directory);
    stopped.send_replace(Some(ended));
    drop(supervisor);
}

/// Waits for the end of a process that there may be.
async fn ended(child: Option<&mut Child>) -> io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

fn in_words(status: io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Asks QEMU to quit, and ends it otherwise if it does not. One that is stopped hears nothing, and takes
/// no signal but the last.
async fn end(child: &mut Child, qmp: &Qmp) -> Stopped {
    let ended = if child.id().is_some_and(poll::is_stopped) {
        process::kill(child).await
    } else {
        // The answer may be lost with the connection: only the end of the process counts.
        let _ = timeout(PATIENCE, qmp.execute("quit", None)).await;
        process::end(child, PATIENCE).await
    };
    match ended {
        Ok((status, rung)) => Stopped { status: status.to_string(), rung },
        Err(error) => {
            tracing::error!(%error, "cannot wait for QEMU");
            Stopped::unknown()
        }
    }
}
