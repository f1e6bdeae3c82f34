// SPDX-License-Identifier: Apache-2.0
//! Prepares a machine: makes its files and starts its QEMU with the guest paused.
use std::process::Stdio;
use std::time::Duration;

use camino::Utf8PathBuf;
use loadgauge_host::{CommandExt as _, FileError, fs};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Child;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::capped_file::CappedFile;
use super::layout::Layout;
use super::plan::MachinePlan;
use super::private_file;
use super::qemu::arguments::arguments_with;
use super::qemu::emulator::Emulator;
use super::qemu::process;
use super::qemu::qmp::{Qmp, QmpError, QmpEvent, forwarded_port};
use super::qemu::tpm;
use super::runtime_directory::RuntimeDirectory;
use super::snapshot::migration;
use super::sockets::Sockets;
use super::start_error::{CONNECT_SECONDS, StartError};
use super::start_mode::StartMode;
use super::{console, journal};

/// The time for QEMU to connect its sockets.
const CONNECT: Duration = Duration::from_secs(CONNECT_SECONDS);
/// The time for the exit of a QEMU that has closed a connection.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The name of the connection for commands, in messages.
const QMP: &str = "QMP socket";
/// From this size on a config is slow to read through fw_cfg, whose cost is quadratic.
const LARGE_CONFIG: usize = 200 * 1024;

/// A QEMU that has connected its sockets and whose guest is paused.
#[derive(Debug)]
pub(crate) struct PreparedMachine {
    pub(crate) child: Child,
    pub(crate) tpm: Option<Child>,
    pub(crate) directory: RuntimeDirectory,
    pub(crate) qmp: Qmp,
    pub(crate) qmp_events: Receiver<QmpEvent>,
    pub(crate) console: UnixStream,
    pub(crate) events: UnixStream,
    pub(crate) journal: UnixStream,
    pub(crate) http: UnixListener,
    pub(crate) peers: Option<UnixStream>,
    pub(crate) console_file: CappedFile,
    pub(crate) journal_file: CappedFile,
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
    let console_file = CappedFile::create(&layout.console_log(), console::note)?;
    let journal_file = CappedFile::create(&layout.journal_log(), journal::note)?;

    let sockets = Sockets::bind(plan, layout)?;
    let tpm = if plan.spec.tpm { Some(tpm::start(layout).await?) } else { None };
    let mut child = spawn(&emulator, &arguments, layout).await?;
    let established = establish(&mut child, sockets, layout, mode).await;
    let Established { connections, qmp, qmp_events, port } = match established {
        Ok(established) => established,
        Err(error) => {
            // QEMU may still run, and must be gone before its directory is removed.
            let _ = child.kill().await;
            return Err(error);
        }
    };
    let Connections { console, events, journal, http, peers, .. } = connections;
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

async fn spawn(emulator: &Emulator, arguments: &[String], layout: &Layout) -> Result<Child, StartError> {
    let log_path = layout.qemu_log();
    let log = fs::create(&log_path)?;
    let errors = log.try_clone().map_err(FileError::at("open", &log_path))?;
    let mut command = emulator.command();
    command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
    let path = emulator.path().to_owned();
    process::spawn(command).await.map_err(|source| StartError::Spawn { path, source })
}

/// A QEMU that answers.
#[derive(Debug)]
struct Established {
    connections: Connections,
    qmp: Qmp,
    qmp_events: Receiver<QmpEvent>,
    port: u16,
}

/// The connections of a QEMU.
#[derive(Debug)]
struct Connections {
    qmp: Option<UnixStream>,
    console: UnixStream,
    events: UnixStream,
    journal: UnixStream,
    http: UnixListener,
    peers: Option<UnixStream>,
}

/// Waits until QEMU has connected its sockets and answers over QMP, and restores the machine. If QEMU exits
/// meanwhile, that is the error, with the end of its log.
async fn establish(
    child: &mut Child,
    sockets: Sockets,
    layout: &Layout,
    mode: &StartMode<'_>,
) -> Result<Established, StartError> {
    let exited = |status| {
        let status = process::describe_exit(status);
        StartError::Exited { status, log: process::log_tail(&layout.qemu_log()) }
    };
    let established = async {
        let mut connections = connect(sockets, layout).await?;
        let stream = connections.qmp.take().ok_or(StartError::NotConnected { channel: QMP })?;
        let greeted = timeout(CONNECT, Qmp::connect(stream)).await;
        let (qmp, qmp_events) = greeted.map_err(|_| QmpError::NoGreeting)??;
        let table = qmp.human("info usernet").await?;
        let port = forwarded_port(&table).ok_or(StartError::NoPort { found: table })?;
        if let StartMode::Restore(snapshot) = mode {
            migration::restore(&qmp, snapshot.snapshot.mode, &snapshot.files.state()).await?;
        }
        Ok::<_, StartError>(Established { connections, qmp, qmp_events, port })
    };
    let error = tokio::select! {
        established = established => match established {
            Ok(established) => return Ok(established),
            Err(error) => error,
        },
        status = child.wait() => return Err(exited(status)),
    };
    // A QEMU that exits closes its connections first.
    match timeout(LAST_WORDS, child.wait()).await {
        Ok(status) => Err(exited(status)),
        Err(_) => Err(error),
    }
}

/// Waits for each of QEMU's connections. The sockets are then removed, so that no other process can connect.
async fn connect(sockets: Sockets, layout: &Layout) -> Result<Connections, StartError> {
    let Sockets { qmp, console, events, journal, http, peers } = sockets;
    let connected = Connections {
        qmp: Some(accept(QMP, qmp).await?),
        console: accept("console", console).await?,
        events: accept("event port", events).await?,
        journal: accept("journal port", journal).await?,
        http,
        peers: match peers {
            Some(listener) => Some(accept("network interface to its peers", listener).await?),
            None => None,
        },
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

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::machine::qemu::memory::MemoryMode;
    use crate::machine::testing;

    /// What happens when a process in the place of QEMU writes to its log and exits, `connected` or not.
    async fn exits(connected: bool) -> StartError {
        let scratch = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(scratch.path()).expect("UTF-8");
        let layout = Layout::new(root.join("records"), root.join("runtime"), "relay");
        let _directory = RuntimeDirectory::create(&layout).expect("created");
        let sockets = Sockets::bind(&testing::plan(), &layout).expect("bound");
        let paths =
            [layout.qmp_socket(), layout.console_socket(), layout.events_socket(), layout.journal_socket()];
        let count = if connected { paths.len() } else { 0 };
        let connections: Vec<_> = paths[..count]
            .iter()
            .map(|path| std::os::unix::net::UnixStream::connect(path).expect("connected"))
            .collect();
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "sleep 0.3; echo 'cannot allocate memory' >\"$1\"; exit 1", "sh"]);
        command.arg(layout.qemu_log());
        let mut child = process::spawn(command).await.expect("started");
        let mode = StartMode::PowerOn { public_key: "", memory: MemoryMode::Anonymous };
        // Its connections end before it does, as those of a process that exits.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(connections);
        });
        establish(&mut child, sockets, &layout, &mode).await.expect_err("it exits")
    }

    #[tokio::test]
    async fn a_qemu_that_exits_in_any_phase_has_the_last_word() {
        for connected in [false, true] {
            let error = exits(connected).await;
            let StartError::Exited { status, log } = &error else { panic!("{error:?}") };
            assert_eq!((status.as_str(), log.as_str()), ("exit status: 1", "cannot allocate memory"));
        }
    }
}
