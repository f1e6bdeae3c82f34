// SPDX-License-Identifier: Apache-2.0
//! A TPM 2.0: swtpm, with one process and state for each machine.
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use loadgauge_host::{FileError, Hint, MissingTool, Tool, fs};
use tokio::process::Child;

use super::process;
use crate::machine::layout::Layout;

/// A TPM cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// swtpm is not installed
    #[error("cannot start a TPM: {0}")]
    Missing(#[from] MissingTool),
    /// a file operation failed
    #[error(transparent)]
    File(#[from] FileError),
    /// swtpm cannot be executed
    #[error("cannot run `swtpm`")]
    Spawn(#[source] std::io::Error),
}

impl Hint for TpmError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(missing) => missing.hint(),
            Self::File(error) => error.hint(),
            Self::Spawn(_) => None,
        }
    }
}

/// Starts a TPM without state, which waits for QEMU to connect and exits after it.
///
/// The socket is created here and passed as standard input, so that QEMU need not wait for it.
pub(crate) async fn start(layout: &Layout) -> Result<Child, TpmError> {
    let tool = Tool::find("swtpm")?;
    let state = layout.tpm_state();
    fs::create_dir(&state)?;
    let socket = layout.tpm_socket();
    let listener = UnixListener::bind(&socket).map_err(FileError::at("listen on", &socket))?;
    let log_path = layout.tpm_log();
    let log = fs::create(&log_path)?;
    let errors = log.try_clone().map_err(FileError::at("open", &log_path))?;
    let mut command = tool.command();
    command
        .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
        .arg(format!("dir={state}"))
        .args(["--ctrl", "type=unixio,fd=0"])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(log)
        .stderr(errors);
    process::spawn(command).await.map_err(TpmError::Spawn)
}
