// SPDX-License-Identifier: Apache-2.0
use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, PrivateKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::DropGuard;

use super::console::Console;
use super::events::{self, ANSWERS, Answer, Ready};
use super::health::fault::Fault;
use super::health::host_load::{HostLoad, HostShare};
use super::health::ssh_probe::NoAnswer;
use super::health::symptom::Symptom;
use super::health::{guest_status, monitor, poll, ssh_probe};
use super::journal;
use super::layout::Layout;
use super::network::http_server;
use super::network::peer_network::PeerNetwork;
use super::plan::MachinePlan;
use super::process_owner::{self, ProcessParts, Stopped};
use super::qemu::memory::MemoryMode;
use super::qemu::qmp::{Qmp, QmpError};
use super::start::{PreparedMachine, prepare};
use super::start_error::StartError;
use super::start_mode::StartMode;
use super::supervisor::Supervisor;

/// How many lines of the console a time-out shows.
const TAIL: usize = 20;
/// The share of the boot's limit that the console may stay silent: firmware, boot loader or kernel print
/// something within seconds.
const SILENT_SHARE: u32 = 6;
/// The time for the fault of a QEMU that has closed its connection.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How many symptoms are queued; the tasks that report them can wait.
const SYMPTOMS: usize = 16;
/// The time for a guest to report its status.
const REPLY: Duration = Duration::from_secs(5);
/// How long no link of a guest is up before it counts as cut off: a link that is reconfigured is down for a
/// moment.
const CUT: Duration = Duration::from_secs(3);

/// A running machine.
///
/// Dropping it stops it; the [`Supervisor`] waits for its end.
#[derive(Debug)]
pub struct Machine {
    name: String,
    key: PrivateKey,
    address: SocketAddr,
    layout: Layout,
    pid: u32,
    qmp: Qmp,
    console: Console,
    symptoms: mpsc::Sender<Symptom>,
    ready: watch::Receiver<Option<Ready>>,
    ready_in: watch::Sender<Option<Ready>>,
    port: tokio::sync::Mutex<EventPort>,
    /// the number of the next status request
    next_request: AtomicU64,
    host_key: Option<String>,
    fault: watch::Receiver<Option<Fault>>,
    load: HostLoad,
    stopped: watch::Receiver<Option<Stopped>>,
    /// its interface to its peers, until it is connected
    peers: Option<UnixStream>,
    token: DropGuard,
}

/// The event port, for requests to the guest and its answers.
#[derive(Debug)]
struct EventPort {
    requests: OwnedWriteHalf,
    answers: mpsc::Receiver<Answer>,
}

impl Machine {
    /// Boots a machine. Its records are written to `directory`. For each of the guest's connections to the
    /// harness, QEMU runs `relay_program` as `PROGRAM relay SOCKET`, which must call
    /// [`relay`](crate::machine::relay).
    ///
    /// # Errors
    /// A file cannot be created, or QEMU is missing or does not start. Nothing is left behind.
    pub async fn start(
        plan: MachinePlan,
        directory: Utf8PathBuf,
        relay_program: Utf8PathBuf,
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let layout = supervisor.layout(&directory, &relay_program);
        let key = generate_key()?;
        let public_key = key.public_key().to_openssh()?;
        let mode = StartMode::PowerOn { public_key: &public_key, memory: MemoryMode::Anonymous };
        Self::start_from(plan, layout, key, &mode, supervisor).await
    }

    /// Boots or restores a machine.
    pub(crate) async fn start_from(
        plan: MachinePlan,
        layout: Layout,
        key: PrivateKey,
        mode: &StartMode<'_>,
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let records = mode.records()?;
        // `Supervisor::stop_all` waits for machines that are being started as well.
        let _starting = supervisor.tasks().token();
        let token = supervisor.token();
        let prepared = tokio::select! {
            prepared = prepare(&plan, &layout, mode) => prepared?,
            () = token.cancelled() => return Err(StartError::Cancelled),
        };
        Self::run(plan, layout, key, prepared, records, supervisor).await
    }

    /// Starts the tasks of a prepared machine, and resumes its guest. The records are those of the snapshot
    /// that it was restored from.
    async fn run(
        plan: MachinePlan,
        layout: Layout,
        key: PrivateKey,
        prepared: PreparedMachine,
        (console_record, journal_record): (Vec<u8>, Vec<u8>),
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let PreparedMachine { child, tpm, directory, qmp, qmp_events, port, peers, .. } = prepared;
        let token = supervisor.token();
        let console = Console::default();
        let (symptoms_in, symptoms) = mpsc::channel(SYMPTOMS);
        let (fault_in, fault) = watch::channel(None);
        let (ready_in, ready) = watch::channel(None);
        let (started_in, started) = watch::channel(Instant::now());
        let (stopped_in, stopped) = watch::channel(None);
        let (answers_in, answers) = mpsc::channel(ANSWERS);
        let (events, requests) = prepared.events.into_split();

        let tasks = supervisor.tasks();
        let watching = console.clone();
        let console_symptoms = symptoms_in.clone();
        let readers = vec![
            tasks.spawn(async move {
                let console = Cursor::new(console_record).chain(prepared.console);
                watching.watch(console, prepared.console_file, console_symptoms).await;
            }),
            tasks.spawn(events::watch(events, started, ready_in.clone(), answers_in, symptoms_in.clone())),
            tasks.spawn(journal::record(
                Cursor::new(journal_record).chain(prepared.journal),
                prepared.journal_file,
                symptoms_in.clone(),
            )),
        ];
        tasks.spawn(http_server::serve(prepared.http, plan.served, token.clone()));
        tasks.spawn(monitor::watch(
            qmp_events,
            qmp.clone(),
            console.clone(),
            started_in.clone(),
            symptoms_in.clone(),
        ));
        let diagnosis = monitor::diagnose(symptoms, console.clone(), fault_in);
        let end = token.clone().cancelled_owned();
        tasks.spawn(async move {
            tokio::select! { () = diagnosis => {} () = end => {} }
        });
        let pid = child.id().unwrap_or_default();
        let children = supervisor.registry();
        let registration = children.register(pid, "qemu", &plan.name);
        let tpm_registration =
            tpm.as_ref().map(|tpm| children.register(tpm.id().unwrap_or_default(), "swtpm", &plan.name));
        let load = HostLoad::of(pid);
        let architecture = plan.image.facts.architecture;
        let target = poll::Target { qmp: qmp.clone(), pid, architecture, load: load.clone() };
        tasks.spawn(poll::watch(target, symptoms_in.clone(), token.clone()));
        let parts = ProcessParts {
            child,
            tpm,
            registration,
            tpm_registration,
            directory,
            layout: layout.clone(),
            readers,
            supervisor: supervisor.clone(),
        };
        tasks.spawn(process_owner::own(parts, qmp.clone(), token.clone(), symptoms_in.clone(), stopped_in));

        let machine = Self {
            name: plan.name,
            key,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            layout,
            pid,
            qmp,
            console,
            symptoms: symptoms_in,
            ready,
            ready_in,
            port: EventPort { requests, answers }.into(),
            next_request: AtomicU64::new(1),
            host_key: None,
            fault,
            load,
            stopped,
            peers,
            token: token.drop_guard(),
        };
        started_in.send_replace(Instant::now());
        if let Err(error) = machine.qmp.execute("cont", None).await {
            return Err(machine.start_error(error).await);
        }
        tracing::debug!(machine = %machine.name, pid, port, "started");
        Ok(machine)
    }

    /// The reason why the guest does not run: the exit of QEMU, if that is why it does not answer.
    async fn start_error(&self, error: QmpError) -> StartError {
        match timeout(LAST_WORDS, self.fault()).await {
            Ok(Fault::Exited { status, log }) => StartError::Exited { status, log },
            _ => error.into(),
        }
    }

    /// Connects the machine to the network of its peers, if its plan has an address there. Frames that its
    /// guest sent earlier wait in the socket.
    pub fn join(&mut self, network: &PeerNetwork, supervisor: &Supervisor) {
        if let Some(stream) = self.peers.take() {
            supervisor.tasks().spawn(network.connect(stream));
        }
    }

    /// The name in its plan.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that logs in to this machine only, as [`USER`](crate::machine::USER). It is never written to
    /// a disk.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The fingerprint (SHA-256, in OpenSSH's format) of the guest's host key, if the harness generated it.
    pub fn host_key(&self) -> Option<&str> {
        self.host_key.as_deref()
    }

    /// The host's address of the guest's port 22. QEMU accepts connections from power-on; the guest answers
    /// when it is ready.
    pub fn ssh_address(&self) -> SocketAddr {
        self.address
    }

    /// The directory of its records.
    pub fn directory(&self) -> &Utf8Path {
        self.layout.records()
    }

    /// The paths of its files.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The process ID of its QEMU.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the guest reports that it is up, in another boot than `after`.
    ///
    /// # Errors
    /// A fault ends the wait at once; otherwise it ends after `limit`.
    pub async fn ready(&self, after: Option<&str>, limit: Duration) -> Result<Ready, Fault> {
        let mut ready = self.ready.clone();
        let wanted = async {
            let another =
                |ready: &Option<Ready>| ready.as_ref().is_some_and(|ready| after != Some(&ready.boot_id));
            match ready.wait_for(another).await.map(|ready| ready.clone()) {
                Ok(Some(ready)) => ready,
                // The port is closed: QEMU has exited, and the fault follows.
                _ => std::future::pending().await,
            }
        };
        let what =
            if after.is_some() { "the guest's readiness after a reboot" } else { "the guest's readiness" };
        tokio::select! {
            biased;
            fault = self.fault() => Err(fault),
            ready = wanted => Ok(ready),
            share = self.stays_silent(limit / SILENT_SHARE) => Err(if share.is_starved() {
                self.timed_out("the first output on its console", share)
            } else {
                Fault::Silent { seconds: share.wall.as_secs() }
            }),
            share = self.load.patience(limit) => Err(self.timed_out(what, share)),
        }
    }

    /// The fault of a wait that reached its limit.
    fn timed_out(&self, what: &str, share: HostShare) -> Fault {
        Fault::timed_out(what.to_owned(), share, self.console_tail(TAIL))
    }

    /// Sends the guest a request and waits for its answer.
    ///
    /// # Errors
    /// The machine has a fault, or there is no answer within `limit`.
    pub(crate) async fn request(&self, request: &str, limit: Duration) -> Result<Answer, Fault> {
        self.request_matching(request, |_| true, limit).await
    }

    /// As [`Machine::request`], but skips answers to earlier requests.
    async fn request_matching(
        &self,
        request: &str,
        matches: impl Fn(&Answer) -> bool,
        limit: Duration,
    ) -> Result<Answer, Fault> {
        let answer = async {
            let mut port = self.port.lock().await;
            // Nobody waits for earlier answers, which would leave no room for this one.
            while port.answers.try_recv().is_ok() {}
            // If the port is closed, QEMU has exited, and the fault follows.
            if port.requests.write_all(format!("{request}\n").as_bytes()).await.is_err() {
                return std::future::pending().await;
            }
            loop {
                match port.answers.recv().await {
                    Some(answer) if matches(&answer) => return answer,
                    Some(late) => tracing::debug!(?late, "late answer of the guest"),
                    None => return std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            fault = self.fault() => Err(fault),
            answer = answer => Ok(answer),
            share = self.load.patience(limit) => Err(self.timed_out("the guest's answer to a request", share)),
        }
    }

    /// Asks the guest for the states of its links or units, by name. Returns nothing if the guest does not
    /// answer within `limit`.
    async fn status(&self, request: &str, limit: Duration) -> Option<Vec<(String, String)>> {
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        let matches = |answer: &Answer| matches!(answer, Answer::Status { number: of, .. } if *of == number);
        match self.request_matching(&format!("{request} {number}"), matches, limit).await {
            Ok(Answer::Status { states, .. }) => Some(states),
            _ => None,
        }
    }

    /// Marks a restored guest as ready.
    pub(crate) fn set_ready(&mut self, ready: Ready, host_key: String) {
        self.host_key = Some(host_key);
        self.ready_in.send_replace(Some(ready));
    }

    /// The QMP connection.
    pub(crate) fn qmp(&self) -> &Qmp {
        &self.qmp
    }

    /// Resolves when the machine has stopped.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            // An error means that the task that owns the process has ended.
            let _ = stopped.wait_for(Option::is_some).await;
        }
    }

    /// Resolves after `limit` if the console is still empty, and never otherwise.
    async fn stays_silent(&self, limit: Duration) -> HostShare {
        let share = self.load.patience(limit).await;
        if !self.console.is_silent() {
            std::future::pending::<()>().await;
        }
        share
    }

    /// How much of about the last minute the machine waited for a processor of the host.
    pub fn host_share(&self) -> HostShare {
        self.load.recent()
    }

    /// Resolves when the machine has a fault. For use beside everything that waits for the guest.
    pub async fn fault(&self) -> Fault {
        let mut fault = self.fault.clone();
        match fault.wait_for(Option::is_some).await.map(|fault| fault.clone()) {
            Ok(Some(fault)) => fault,
            _ => std::future::pending().await,
        }
    }

    /// Probes, for `limit` at most, whether the guest's sshd answers; longer where the host is overloaded. If
    /// not, the machine has a [`Fault`] from then on: that of SSH, unless another symptom or the load of the host
    /// explains it.
    ///
    /// For a guest that is up and does not answer a command. If the guest reports that its network is
    /// down, the probe ends early.
    pub async fn look_for_ssh(&self, context: &str, limit: Duration) -> bool {
        let what = tokio::select! {
            biased;
            answers = ssh_probe::answers(self.address, self.load.patience(limit)) => match answers {
                Ok(()) => return true,
                Err(NoAnswer::Late(share)) if share.is_starved() => {
                    self.report_starved(format!("an answer of its sshd ({context})"), share).await;
                    return false;
                }
                Err(why) => {
                    let why = match why {
                        NoAnswer::Refused => "nothing listens on the guest's port 22".to_owned(),
                        NoAnswer::Late(share) => {
                            format!("there is no answer within {} s", share.wall.as_secs())
                        }
                    };
                    self.with_units(format!("{context}, and {why}")).await
                }
            },
            why = self.cut_off(limit) => format!("{context}, and {why}"),
        };
        self.report_symptom(what).await;
        false
    }

    /// Reports a failure of SSH as a [`Fault`].
    pub async fn report_ssh(&self, what: String) {
        let what = self.with_units(what).await;
        self.report_symptom(what).await;
    }

    /// Reports a time-out of SSH as a [`Fault`]: of the host, if the host had no processor for the guest.
    pub async fn report_ssh_timeout(&self, what: String) {
        let share = self.host_share();
        if share.is_starved() {
            self.report_starved(format!("SSH ({what})"), share).await;
        } else {
            self.report_ssh(what).await;
        }
    }

    async fn report_starved(&self, what: String, share: HostShare) {
        let _ = self.symptoms.send(Symptom::Starved { what, share }).await;
    }

    async fn report_symptom(&self, what: String) {
        // The channel is closed once there is a fault.
        let _ = self.symptoms.send(Symptom::Ssh { what }).await;
    }

    /// Appends the states of the units that SSH needs, if the guest reports them.
    async fn with_units(&self, what: String) -> String {
        match self.status("units", REPLY).await {
            Some(units) => format!("{what}; {}", guest_status::of_units(&units)),
            None => what,
        }
    }

    /// Resolves when the guest reports twice that no link is up.
    async fn cut_off(&self, limit: Duration) -> String {
        let cut_off = async || Some(guest_status::cut_off(&self.status("links", limit).await?)).flatten();
        if cut_off().await.is_some() {
            sleep(CUT).await;
            if let Some(why) = cut_off().await {
                return why;
            }
        }
        std::future::pending().await
    }

    /// The last lines of the console, as plain text.
    pub fn console_tail(&self, lines: usize) -> Vec<String> {
        self.console.tail(lines)
    }

    /// Stops the machine without shutting the guest down, and waits until its process, sockets and disks
    /// are gone.
    pub async fn stop(self) -> Stopped {
        let Self { mut stopped, token, .. } = self;
        token.disarm().cancel();
        match stopped.wait_for(Option::is_some).await.map(|stopped| stopped.clone()) {
            Ok(Some(stopped)) => stopped,
            // The runtime was shut down, which killed the process.
            _ => Stopped::unknown(),
        }
    }
}

/// Generates an SSH key for a machine. Its comment marks it in the guest's files.
pub(crate) fn generate_key() -> Result<PrivateKey, ssh_key::Error> {
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
    key.set_comment("loadgauge");
    Ok(key)
}
