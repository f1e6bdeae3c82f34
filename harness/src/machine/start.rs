// SPDX-License-Identifier: Apache-2.0
//! Prepares a machine: makes its files and starts its QEMU with the guest paused.
use std::process::Stdio;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::{CommandExt as _, FileError, fs};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Child;
use tokio::time::timeout;

use super::layout::Layout;
use super::plan::MachinePlan;
use super::private_file;
use super::qemu::arguments::arguments_with;
use super::qemu::emulator::Emulator;
use super::qemu::process;
use super::qemu::qmp::{Qmp, QmpEvent, forwarded_port};
use super::qemu::tpm;
use super::runtime_directory::RuntimeDirectory;
use super::snapshot::migration;
use super::sockets::Sockets;
use super::start_error::{CONNECT_SECONDS, StartError};
use super::start_mode::StartMode;

/// The time for QEMU to connect its sockets.
const CONNECT: Duration = Duration::from_secs(CONNECT_SECONDS);
/// From this size on a config is slow to read through fw_cfg, whose cost is quadratic.
const LARGE_CONFIG: usize = 200 * 1024;

/// A QEMU that has connected its sockets and whose guest is paused.
#[derive(Debug)]
pub(crate) struct PreparedMachine {
    pub(crate) child: Child,
    pub(crate) tpm: Option<Child>,
    pub(crate) directory: RuntimeDirectory,
    pub(crate) qmp: Qmp,
    pub(crate) qmp_events: tokio::sync::mpsc::UnboundedReceiver<QmpEvent>,
    pub(crate) console: UnixStream,
    pub(crate) events: UnixStream,
    pub(crate) journal: UnixStream,
    pub(crate) http: UnixListener,
    pub(crate) peers: Option<UnixStream>,
    pub(crate) console_file: tokio::fs::File,
    pub(crate) journal_file: tokio::fs::File,
    pub(crate) port: u16,
}

/// Makes the files of a machine and starts its QEMU with the guest paused.
pub(crate) async fn prepare(
    plan: &MachinePlan,
    layout: &Layout,
    mode: &StartMode<'_>,
) -> Result<PreparedMachine, StartError> {
    let config = mode.config(plan)?;
    if config.len() > LARGE_CONFIG {
        tracing::warn!(machine = %plan.name, bytes = config.len(), "a large Ignition config is slow to reach the guest");
    }
    let emulator = Emulator::find(plan.image.facts.architecture)?;
    let arguments = arguments_with(plan, layout, &mode.memory());
    let directory = RuntimeDirectory::create(layout)?;
    private_file::write(&layout.ignition(), config)?;
    fs::write(layout.command_line(), emulator.command().args(&arguments).line() + "\n")?;
    mode.make_disks(plan, layout)?;
    let console_file = create(&layout.console_log()).await?;
    let journal_file = create(&layout.journal_log()).await?;

    let sockets = Sockets::bind(plan, layout)?;
    let tpm = if plan.spec.tpm { Some(tpm::start(layout).await?) } else { None };
    let mut child = spawn(&emulator, &arguments, layout).await?;
    let connected = connect(&mut child, sockets, layout).await;
    let Connections { qmp, console, events, journal, http, peers } = match connected {
        Ok(connected) => connected,
        Err(error) => {
            // QEMU may still run, and must be gone before its directory is removed.
            let _ = child.kill().await;
            return Err(error);
        }
    };
    let (qmp, qmp_events) = Qmp::connect(qmp).await?;
    let table = qmp.human("info usernet").await?;
    let port = forwarded_port(&table).ok_or(StartError::NoPort { found: table })?;
    if let StartMode::Restore(snapshot) = mode {
        migration::restore(&qmp, snapshot.snapshot.mode, &snapshot.files.state()).await?;
    }
    Ok(PreparedMachine {
        child,
        tpm,
        directory,
        qmp,
        qmp_events,
        console,
        events,
        journal,
        http,
        peers,
        console_file,
        journal_file,
        port,
    })
}

async fn create(path: &Utf8Path) -> Result<tokio::fs::File, FileError> {
    tokio::fs::File::create(path).await.map_err(FileError::at("create", path))
}

async fn spawn(emulator: &Emulator, arguments: &[String], layout: &Layout) -> Result<Child, StartError> {
    let log_path = layout.qemu_log();
    let log = fs::create(&log_path)?;
    let errors = log.try_clone().map_err(FileError::at("open", &log_path))?;
    let mut command = emulator.command();
    command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
    let path = emulator.path().to_owned();
    process::spawn(command).await.map_err(|source| StartError::Spawn { path, source })
}

/// The connections of a QEMU.
struct Connections {
    qmp: UnixStream,
    console: UnixStream,
    events: UnixStream,
    journal: UnixStream,
    http: UnixListener,
    peers: Option<UnixStream>,
}

/// Waits for each of QEMU's connections, or for its exit. The sockets are then removed, so that no other
/// process can connect.
async fn connect(child: &mut Child, sockets: Sockets, layout: &Layout) -> Result<Connections, StartError> {
    let Sockets { qmp, console, events, journal, http, peers } = sockets;
    let accept = async {
        Ok::<_, StartError>(Connections {
            qmp: accept("QMP socket", qmp).await?,
            console: accept("console", console).await?,
            events: accept("event port", events).await?,
            journal: accept("journal port", journal).await?,
            http,
            peers: match peers {
                Some(listener) => Some(accept("network interface to its peers", listener).await?),
                None => None,
            },
        })
    };
    let connected = tokio::select! {
        connected = accept => connected?,
        status = child.wait() => {
            let status = process::describe_exit(status);
            return Err(StartError::Exited { status, log: process::log_tail(&layout.qemu_log()) });
        }
    };
    let used: [Utf8PathBuf; 4] =
        [layout.qmp_socket(), layout.console_socket(), layout.events_socket(), layout.journal_socket()];
    for path in used.into_iter().chain(connected.peers.as_ref().map(|_| layout.peers_socket())) {
        fs::remove_file(path)?;
    }
    Ok(connected)
}

async fn accept(channel: &'static str, listener: UnixListener) -> Result<UnixStream, StartError> {
    let accepted = timeout(CONNECT, listener.accept()).await;
    let (stream, _) = accepted
        .map_err(|_| StartError::NotConnected { channel })?
        .map_err(FileError::at("accept a connection of", channel))?;
    Ok(stream)
}
