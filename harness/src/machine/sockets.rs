// SPDX-License-Identifier: Apache-2.0
use camino::Utf8Path;
use loadgauge_host::FileError;
use tokio::net::UnixListener;

use super::layout::Layout;
use super::plan::MachinePlan;

/// The sockets that QEMU connects to. They exist before QEMU starts.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) qmp: UnixListener,
    pub(crate) console: UnixListener,
    pub(crate) events: UnixListener,
    pub(crate) journal: UnixListener,
    pub(crate) http: UnixListener,
    /// for a machine with peers
    pub(crate) peers: Option<UnixListener>,
}

impl Sockets {
    pub(crate) fn bind(plan: &MachinePlan, layout: &Layout) -> Result<Self, FileError> {
        Ok(Self {
            qmp: bind(&layout.qmp_socket())?,
            console: bind(&layout.console_socket())?,
            events: bind(&layout.events_socket())?,
            journal: bind(&layout.journal_socket())?,
            http: bind(&layout.http_socket())?,
            peers: plan.peer_address.map(|_| bind(&layout.peers_socket())).transpose()?,
        })
    }
}

fn bind(path: &Utf8Path) -> Result<UnixListener, FileError> {
    UnixListener::bind(path).map_err(FileError::at("listen on", path))
}
