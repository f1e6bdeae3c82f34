// SPDX-License-Identifier: Apache-2.0
//! From a plan to a machine that runs.
use loadgauge_host::Hint;
use std::process::Stdio;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use loadgauge_host::CommandExt as _;
use loadgauge_ignition::{Config, Conflict, mask_updates};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::directory::{FileError, RuntimeDirectory, Sockets, at};
use super::layout::Layout;
use super::plan::MachinePlan;
use super::start_mode::StartMode;
use super::units;
use crate::machine::qemu::arguments;
use crate::machine::qemu::emulator::{Emulator, EmulatorError};
use crate::machine::qemu::overlay::OverlayError;
use crate::machine::qemu::process;
use crate::machine::qemu::qmp::{Qmp, QmpError, QmpEvent, forwarded_port};
use crate::machine::qemu::tpm::{self, TpmError};
use crate::machine::snapshot::migration::{self, MigrateError};
use crate::machine::snapshot::snapshots::Held;

/// How long QEMU may take to connect its sockets; it does so before it allocates anything large.
const CONNECT: Duration = Duration::from_secs(20);
/// From this size on a config takes noticeably long through fw_cfg, whose reads are quadratic.
const LARGE_CONFIG: usize = 200 * 1024;
/// How many lines of QEMU's own words are shown.
const WORDS: usize = 20;

/// A machine cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// a file of it cannot be made
    #[error(transparent)]
    File(#[from] FileError),
    /// its disk cannot be made
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// there is no QEMU
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// the author's config and the harness's do not go together
    #[error("the scenario's Ignition config and the harness's do not go together")]
    Conflict(#[from] Conflict),
    /// the key cannot be made
    #[error("cannot make a key for the machine")]
    Key(#[from] ssh_key::Error),
    /// QEMU did not start
    #[error("cannot run `{path}`")]
    Spawn {
        /// the program
        path: Utf8PathBuf,
        /// why not
        source: std::io::Error,
    },
    /// QEMU ended before it was told to begin
    #[error("QEMU ended at once with {status}:\n{words}")]
    Ended {
        /// exit status or signal
        status: String,
        /// what it printed
        words: String,
    },
    /// QEMU is there and does not connect
    #[error("QEMU did not connect its {channel} within {} s", CONNECT.as_secs())]
    Silent {
        /// the monitor or a port of the guest
        channel: &'static str,
    },
    /// QEMU does not do what it is told
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// its TPM does not start
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// all machines are being stopped
    #[error("the machine was not started: the run is being ended")]
    Cancelled,
    /// its state cannot be read from a snapshot
    #[error("the snapshot cannot be restored")]
    Restore(#[from] MigrateError),
    /// the guest does not answer as the one that the snapshot was made of would
    #[error("the machine is no copy of the one that was saved: {found}")]
    NoCopy {
        /// what it says, or that it says nothing
        found: String,
    },
    /// QEMU forwards no port to the guest
    #[error("QEMU does not say which port it forwards to the guest's SSH but:\n{found}")]
    NoPort {
        /// its table of connections
        found: String,
    },
}

impl Hint for StartError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Overlay(error) => error.hint(),
            Self::Emulator(error) => error.hint(),
            Self::Tpm(error) => error.hint(),
            Self::Conflict(error) => error.hint(),
            Self::Ended { words, .. } if words.contains("kvm") || words.contains("KVM") => {
                Some("run without KVM: --accel tcg".to_owned())
            }
            _ => None,
        }
    }
}

/// The config that a guest gets: the author's, with what the harness adds.
///
/// # Errors
/// They contradict each other.
pub fn complete_config(authors: &Config, public_key: &str) -> Result<Config, Conflict> {
    let mut config = authors.clone().merge(units::harness_config(public_key))?;
    mask_updates(&mut config);
    Ok(config)
}

/// QEMU's command line for a machine, as one would type it.
fn command_line(emulator: &Utf8Path, arguments: &[String]) -> String {
    let mut command = std::process::Command::new(emulator);
    command.args(arguments);
    command.line()
}

/// A QEMU that has connected everything and waits for the word to begin.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) child: Child,
    pub(crate) tpm: Option<Child>,
    pub(crate) directory: RuntimeDirectory,
    pub(crate) qmp: Qmp,
    pub(crate) qmp_events: tokio::sync::mpsc::UnboundedReceiver<QmpEvent>,
    pub(crate) console: UnixStream,
    pub(crate) events: UnixStream,
    pub(crate) journal: UnixStream,
    pub(crate) http: UnixListener,
    pub(crate) segment: Option<UnixStream>,
    pub(crate) console_file: tokio::fs::File,
    pub(crate) journal_file: tokio::fs::File,
    pub(crate) port: u16,
}

/// Makes the files of a machine and starts its QEMU, stopped.
pub(crate) async fn prepare(
    plan: &MachinePlan,
    layout: &Layout,
    beginning: &StartMode<'_>,
) -> Result<Prepared, StartError> {
    let config = beginning.config(plan)?;
    if config.len() > LARGE_CONFIG {
        tracing::warn!(machine = %plan.name, bytes = config.len(), "a large Ignition config is slow to reach the guest");
    }
    let emulator = Emulator::find(plan.image.facts.architecture)?;
    let arguments = arguments::arguments_with(plan, layout, &beginning.memory());
    let directory = RuntimeDirectory::create(layout)?;
    let write = |path: Utf8PathBuf, text: String| std::fs::write(&path, text).map_err(at("write", path));
    write(layout.ignition(), config)?;
    write(layout.command_line(), command_line(emulator.path(), &arguments) + "\n")?;
    beginning.make_disks(plan, layout)?;
    let console_file = create(&layout.console_log()).await?;
    let journal_file = create(&layout.journal_log()).await?;

    let sockets = Sockets::bind(plan, layout)?;
    let tpm = if plan.spec.tpm { Some(tpm::start(layout).await?) } else { None };
    let mut child = spawn(emulator.path(), &arguments, layout).await?;
    let connected = connect(&mut child, sockets, layout).await;
    let Connected { qmp, console, events, journal, http, segment } = match connected {
        Ok(connected) => connected,
        Err(error) => {
            // It may be alive, and must be gone before its directory is.
            let _ = child.kill().await;
            return Err(error);
        }
    };
    let (qmp, qmp_events) = Qmp::connect(qmp).await?;
    let table = qmp.human("info usernet").await?;
    let port = forwarded_port(&table).ok_or(StartError::NoPort { found: table })?;
    if let StartMode::Restore(Held { snapshot, files, .. }) = beginning {
        migration::restore(&qmp, snapshot.mode, &files.state()).await?;
    }
    Ok(Prepared {
        child,
        tpm,
        directory,
        qmp,
        qmp_events,
        console,
        events,
        journal,
        http,
        segment,
        console_file,
        journal_file,
        port,
    })
}

async fn create(path: &Utf8Path) -> Result<tokio::fs::File, FileError> {
    tokio::fs::File::create(path).await.map_err(at("create", path))
}

async fn spawn(emulator: &Utf8Path, arguments: &[String], layout: &Layout) -> Result<Child, StartError> {
    let log_path = layout.qemu_log();
    let log = std::fs::File::create(&log_path).map_err(at("create", &log_path))?;
    let errors = log.try_clone().map_err(at("open", &log_path))?;
    let mut command = Command::new(emulator);
    command.args(arguments).env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    let path = emulator.to_owned();
    process::spawn(command).await.map_err(|source| StartError::Spawn { path, source })
}

/// What QEMU has connected.
struct Connected {
    qmp: UnixStream,
    console: UnixStream,
    events: UnixStream,
    journal: UnixStream,
    http: UnixListener,
    segment: Option<UnixStream>,
}

/// Waits for each of QEMU's connections, or for its end. The sockets are then removed: nobody else
/// shall connect, and nothing be left of them.
async fn connect(child: &mut Child, sockets: Sockets, layout: &Layout) -> Result<Connected, StartError> {
    let Sockets { qmp, console, events, journal, http, segment } = sockets;
    let accept = async {
        Ok::<_, StartError>(Connected {
            qmp: accept("monitor", qmp).await?,
            console: accept("console", console).await?,
            events: accept("port for events", events).await?,
            journal: accept("port for the journal", journal).await?,
            http,
            segment: match segment {
                Some(listener) => Some(accept("interface to the other machines", listener).await?),
                None => None,
            },
        })
    };
    let connected = tokio::select! {
        connected = accept => connected?,
        status = child.wait() => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(StartError::Ended { status, words: words(&layout.qemu_log()) });
        }
    };
    let taken =
        [layout.qmp_socket(), layout.console_socket(), layout.events_socket(), layout.journal_socket()];
    for path in taken.into_iter().chain(connected.segment.as_ref().map(|_| layout.segment_socket())) {
        std::fs::remove_file(&path).map_err(at("remove", path))?;
    }
    Ok(connected)
}

async fn accept(channel: &'static str, listener: UnixListener) -> Result<UnixStream, StartError> {
    let accepted = timeout(CONNECT, listener.accept()).await;
    let (stream, _) =
        accepted.map_err(|_| StartError::Silent { channel })?.map_err(at("accept on", channel))?;
    Ok(stream)
}

/// The end of what a process printed.
pub(crate) fn words(log: &Utf8Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(WORDS)..].join("\n")
}
