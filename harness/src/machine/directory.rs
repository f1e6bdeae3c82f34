// SPDX-License-Identifier: Apache-2.0
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::net::UnixListener;

use super::layout::Layout;
use super::plan::MachinePlan;

/// A file of a machine cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{path}`")]
pub struct FileError {
    /// what was to be done
    pub action: &'static str,
    /// to what
    pub path: Utf8PathBuf,
    /// why not
    pub source: io::Error,
}

impl loadgauge_host::Hint for FileError {
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Adds what was tried, and on which path, to an I/O error.
pub(crate) fn at(action: &'static str, path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> FileError {
    let path = path.into();
    move |source| FileError { action, path, source }
}

/// A machine's directory for what goes with it. Dropped, it takes everything along.
#[derive(Debug)]
pub(crate) struct RuntimeDirectory {
    path: Utf8PathBuf,
}

impl RuntimeDirectory {
    /// Makes the directories of a layout: the one for records may exist, the other must not.
    pub(crate) fn create(layout: &Layout) -> Result<Self, FileError> {
        std::fs::create_dir_all(layout.kept()).map_err(at("create the directory", layout.kept()))?;
        std::fs::create_dir(layout.runtime()).map_err(at("create the directory", layout.runtime()))?;
        Ok(Self { path: layout.runtime().to_owned() })
    }
}

impl Drop for RuntimeDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path, %error, "cannot remove a machine's directory");
        }
    }
}

/// The sockets that QEMU connects to, made before it starts.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) qmp: UnixListener,
    pub(crate) console: UnixListener,
    pub(crate) events: UnixListener,
    pub(crate) journal: UnixListener,
    pub(crate) http: UnixListener,
    /// for a machine that meets others
    pub(crate) segment: Option<UnixListener>,
}

impl Sockets {
    pub(crate) fn bind(plan: &MachinePlan, layout: &Layout) -> Result<Self, FileError> {
        Ok(Self {
            qmp: bind(&layout.qmp_socket())?,
            console: bind(&layout.console_socket())?,
            events: bind(&layout.events_socket())?,
            journal: bind(&layout.journal_socket())?,
            http: bind(&layout.http_socket())?,
            segment: plan.station.map(|_| bind(&layout.segment_socket())).transpose()?,
        })
    }
}

pub(crate) fn bind(path: &Utf8Path) -> Result<UnixListener, FileError> {
    UnixListener::bind(path).map_err(at("listen on", path))
}
