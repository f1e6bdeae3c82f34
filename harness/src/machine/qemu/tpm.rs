// SPDX-License-Identifier: Apache-2.0
//! A TPM 2.0: swtpm, one process and one state for each machine.
use loadgauge_host::Hint;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use loadgauge_host::{MissingTool, Tool};
use tokio::process::{Child, Command};

use super::process;
use crate::machine::directory::{FileError, at};
use crate::machine::layout::Layout;

/// A TPM cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// the host lacks swtpm
    #[error("a TPM needs a program that the host lacks: {0}")]
    Missing(#[from] MissingTool),
    /// a file of it cannot be made
    #[error(transparent)]
    File(#[from] FileError),
    /// swtpm does not start
    #[error("cannot run `swtpm`")]
    Spawn(#[source] std::io::Error),
}

impl Hint for TpmError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(missing) => missing.hint(),
            Self::File(_) | Self::Spawn(_) => None,
        }
    }
}

/// Starts a new TPM that waits for QEMU to connect, and ends when it is gone.
///
/// The socket is made here and handed over as standard input, so that nobody waits for it to appear.
pub(crate) async fn start(layout: &Layout) -> Result<Child, TpmError> {
    let tool = Tool::find("swtpm")?;
    let state = layout.tpm_state();
    std::fs::create_dir(&state).map_err(at("create the directory", &state))?;
    let socket = layout.tpm_socket();
    let listener = UnixListener::bind(&socket).map_err(at("listen on", &socket))?;
    let log_path = layout.tpm_log();
    let log = std::fs::File::create(&log_path).map_err(at("create", &log_path))?;
    let errors = log.try_clone().map_err(at("open", &log_path))?;
    let mut command = Command::new(tool.path());
    command
        .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
        .arg(format!("dir={state}"))
        .args(["--ctrl", "type=unixio,fd=0"])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(log)
        .stderr(errors);
    process::spawn(command).await.map_err(TpmError::Spawn)
}
