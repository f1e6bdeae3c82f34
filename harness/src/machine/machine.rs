// SPDX-License-Identifier: Apache-2.0
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
use tokio::time::{Instant, sleep};
use tokio_util::sync::DropGuard;

use super::console::Console;
use super::events::{self, Answer, Ready};
use super::journal;
use super::layout::Layout;
use super::plan::MachinePlan;
use super::process_owner::{self, Stopped};
use super::start::{Prepared, StartError, prepare};
use super::start_mode::StartMode;
use super::supervisor::Supervisor;
use crate::machine::health::fault::Fault;
use crate::machine::health::guest_status;
use crate::machine::health::monitor;
use crate::machine::health::monitor::Symptom;
use crate::machine::health::poll;
use crate::machine::health::ssh_probe;
use crate::machine::network::http_server;
use crate::machine::network::peer_network::PeerNetwork;
use crate::machine::qemu::memory::Memory;
use crate::machine::qemu::qmp::Qmp;

/// How many lines of the console are shown when what was waited for did not come.
const TAIL: usize = 20;
/// Which part of the time that a guest has to be up it may spend without a word: the firmware's, the
/// boot loader's or the kernel's first comes after a few seconds.
const SILENT_SHARE: u32 = 6;
/// How many symptoms may wait to be read; the tasks that see them can wait as well.
const SYMPTOMS: usize = 16;
/// How long a guest may take to say how it is, before it is taken to have nothing to say.
const REPLY: Duration = Duration::from_secs(5);
/// How long no link of a guest is up before it is cut off: one that is set up anew is down for a moment.
const CUT: Duration = Duration::from_secs(3);

/// A machine that runs.
///
/// Dropped, it is stopped all the same; the [`Supervisor`] waits for the end of it.
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
    port: tokio::sync::Mutex<Port>,
    /// of the next question to the guest
    question: AtomicU64,
    host_key: Option<String>,
    fault: watch::Receiver<Option<Fault>>,
    stopped: watch::Receiver<Option<Stopped>>,
    /// its interface to the other machines of its scenario, until it is connected to theirs
    segment: Option<UnixStream>,
    token: DropGuard,
}

/// The port for events: what the guest is ordered, and what it answers.
#[derive(Debug)]
struct Port {
    orders: OwnedWriteHalf,
    answers: mpsc::UnboundedReceiver<Answer>,
}

impl Machine {
    /// Starts a machine from power-on. What is to be kept of it is written to `directory`; its guest
    /// reaches the harness through `relay_program`, which is run as `PROGRAM relay SOCKET` and must then
    /// call [`super::relay`].
    ///
    /// # Errors
    /// A file cannot be made, or QEMU is missing or does not start. Nothing is left behind.
    pub async fn start(
        plan: MachinePlan,
        directory: Utf8PathBuf,
        relay_program: Utf8PathBuf,
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let layout = supervisor.layout(&directory, &relay_program);
        let key = fresh_key()?;
        let public_key = key.public_key().to_openssh()?;
        let beginning = StartMode::PowerOn { public_key: &public_key, memory: Memory::Own };
        Self::begin(plan, layout, key, &beginning, supervisor).await
    }

    pub(crate) async fn begin(
        plan: MachinePlan,
        layout: Layout,
        key: PrivateKey,
        beginning: &StartMode<'_>,
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let records = beginning.records()?;
        // `Supervisor::stop_all` waits for this as it does for a machine that runs.
        let _starting = supervisor.tasks().token();
        let token = supervisor.token();
        let prepared = tokio::select! {
            prepared = prepare(&plan, &layout, beginning) => prepared?,
            () = token.cancelled() => return Err(StartError::Cancelled),
        };
        Self::run(plan, layout, key, prepared, records, supervisor).await
    }

    async fn run(
        plan: MachinePlan,
        layout: Layout,
        key: PrivateKey,
        prepared: Prepared,
        (console_before, journal_before): (Vec<u8>, Vec<u8>),
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let Prepared { child, tpm, directory, qmp, qmp_events, port, segment, .. } = prepared;
        let token = supervisor.token();
        let console = Console::default();
        let (symptoms_in, symptoms) = mpsc::channel(SYMPTOMS);
        let (fault_in, fault) = watch::channel(None);
        let (ready_in, ready) = watch::channel(None);
        let (started_in, started) = watch::channel(Instant::now());
        let (stopped_in, stopped) = watch::channel(None);
        let (answers_in, answers) = mpsc::unbounded_channel();
        let (events, orders) = prepared.events.into_split();

        let tasks = supervisor.tasks();
        let watching = console.clone();
        let console_symptoms = symptoms_in.clone();
        let readers = vec![
            tasks.spawn(async move {
                // As if it had been watched all the time.
                let console = std::io::Cursor::new(console_before).chain(prepared.console);
                watching.watch(console, prepared.console_file, console_symptoms).await;
            }),
            tasks.spawn(events::watch(events, started, ready_in.clone(), answers_in)),
            tasks.spawn(journal::record(
                std::io::Cursor::new(journal_before).chain(prepared.journal),
                prepared.journal_file,
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
        let registry = supervisor.registry();
        let entered = registry.enter(pid, "qemu", &plan.name);
        let entered_tpm =
            tpm.as_ref().map(|tpm| registry.enter(tpm.id().unwrap_or_default(), "swtpm", &plan.name));
        let patient = poll::Patient { qmp: qmp.clone(), pid, architecture: plan.image.facts.architecture };
        tasks.spawn(poll::feel(patient, symptoms_in.clone(), token.clone()));
        let kept = process_owner::ProcessParts {
            child,
            tpm,
            entered,
            entered_tpm,
            directory,
            layout: layout.clone(),
            readers,
            supervisor: supervisor.clone(),
        };
        tasks.spawn(process_owner::keep(kept, qmp.clone(), token.clone(), symptoms_in.clone(), stopped_in));

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
            port: Port { orders, answers }.into(),
            question: AtomicU64::new(1),
            host_key: None,
            fault,
            stopped,
            segment,
            token: token.drop_guard(),
        };
        started_in.send_replace(Instant::now());
        machine.qmp.execute("cont", None).await?;
        tracing::debug!(machine = %machine.name, pid, port, "started");
        Ok(machine)
    }

    /// Connects the machine to those on a network, where its plan has a place on one. What its guest sent
    /// before waits in the socket.
    pub fn join(&mut self, segment: &PeerNetwork, supervisor: &Supervisor) {
        if let Some(stream) = self.segment.take() {
            supervisor.tasks().spawn(segment.connect(stream));
        }
    }

    /// The name in its plan.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key with which [`super::USER`] may log in to this machine and to no other. It is held in
    /// memory only.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// SHA-256 of the key that the guest must show, as OpenSSH writes it, where the harness gave it one.
    pub fn host_key(&self) -> Option<&str> {
        self.host_key.as_deref()
    }

    /// Where the host reaches the guest's port 22. QEMU accepts connections from power-on on; the guest
    /// answers them when it is ready.
    pub fn ssh_address(&self) -> SocketAddr {
        self.address
    }

    /// Where its records are kept.
    pub fn directory(&self) -> &Utf8Path {
        self.layout.kept()
    }

    /// All its files.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The process id of its QEMU.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the guest says that it is up, in a boot that is not `after`.
    ///
    /// # Errors
    /// The machine cannot go on, which is told at once, or `limit` has passed.
    pub async fn ready(&self, after: Option<&str>, limit: Duration) -> Result<Ready, Fault> {
        let mut ready = self.ready.clone();
        let wanted = async {
            let another =
                |ready: &Option<Ready>| ready.as_ref().is_some_and(|ready| after != Some(&ready.boot_id));
            match ready.wait_for(another).await.map(|ready| ready.clone()) {
                Ok(Some(ready)) => ready,
                // The port is closed: QEMU has ended, and the fault that says so is on its way.
                _ => std::future::pending().await,
            }
        };
        let silence = limit / SILENT_SHARE;
        tokio::select! {
            biased;
            fault = self.fault() => Err(fault),
            ready = wanted => Ok(ready),
            () = self.stays_silent(silence) => Err(Fault::Silent { seconds: silence.as_secs() }),
            () = sleep(limit) => Err(Fault::TimedOut {
                what: if after.is_some() { "the guest's readiness after a reboot" } else { "the guest's readiness" }.into(),
                seconds: limit.as_secs(),
                console: self.console_tail(TAIL),
            }),
        }
    }

    /// Orders the guest something and gives its answer.
    ///
    /// # Errors
    /// The machine cannot go on, or there is no answer within `limit`.
    pub(crate) async fn order(&self, order: &str, limit: Duration) -> Result<Answer, Fault> {
        self.order_for(order, |_| true, limit).await
    }

    /// The same, for whoever knows the answer that is meant for this order.
    async fn order_for(
        &self,
        order: &str,
        meant: impl Fn(&Answer) -> bool,
        limit: Duration,
    ) -> Result<Answer, Fault> {
        let answer = async {
            let mut port = self.port.lock().await;
            // Where the port is closed QEMU has ended, and the fault that says so is on its way.
            if port.orders.write_all(format!("{order}\n").as_bytes()).await.is_err() {
                return std::future::pending().await;
            }
            loop {
                match port.answers.recv().await {
                    Some(answer) if meant(&answer) => return answer,
                    Some(late) => tracing::debug!(?late, "the guest answers too late"),
                    None => return std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            fault = self.fault() => Err(fault),
            answer = answer => Ok(answer),
            () = sleep(limit) => Err(Fault::TimedOut {
                what: "the guest's answer to an order".to_owned(),
                seconds: limit.as_secs(),
                console: self.console_tail(TAIL),
            }),
        }
    }

    /// What the guest sees where it is told to look, name by name; nothing where it does not say so
    /// within `limit`.
    async fn seen(&self, order: &str, limit: Duration) -> Option<Vec<(String, String)>> {
        let asked = self.question.fetch_add(1, Ordering::Relaxed);
        let meant = |answer: &Answer| matches!(answer, Answer::Seen { number, .. } if *number == asked);
        match self.order_for(&format!("{order} {asked}"), meant, limit).await {
            Ok(Answer::Seen { states, .. }) => Some(states),
            _ => None,
        }
    }

    /// Declares the guest ready, as the machine of its own that a copy has become.
    pub(crate) fn declare(&mut self, ready: Ready, host_key: String) {
        self.host_key = Some(host_key);
        self.ready_in.send_replace(Some(ready));
    }

    /// QEMU's monitor.
    pub(crate) fn qmp(&self) -> &Qmp {
        &self.qmp
    }

    /// Resolves when the machine is gone.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            // An error is the end of whoever keeps it.
            let _ = stopped.wait_for(Option::is_some).await;
        }
    }

    /// Resolves when the console has had nothing after this long, and never if it has.
    async fn stays_silent(&self, limit: Duration) {
        sleep(limit).await;
        if !self.console.is_silent() {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves when the machine cannot go on, and not before: for use beside whatever waits for an
    /// answer of the guest.
    pub async fn fault(&self) -> Fault {
        let mut fault = self.fault.clone();
        match fault.wait_for(Option::is_some).await.map(|fault| fault.clone()) {
            Ok(Some(fault)) => fault,
            _ => std::future::pending().await,
        }
    }

    /// Looks whether the guest still speaks SSH, for as long as `limit`. If not, that is a [`Fault`] from
    /// then on, unless the machine shows a better cause at the same time.
    ///
    /// For a guest that is up and was asked something which it has not answered, or no longer can. One
    /// that says that its network leads nowhere is not waited for.
    pub async fn look_for_ssh(&self, context: &str, limit: Duration) -> bool {
        let what = tokio::select! {
            biased;
            answers = ssh_probe::answers(self.address, limit) => match answers {
                Ok(()) => return true,
                Err(why) => self.with_units(format!("{context}, and {why}")).await,
            },
            why = self.cut_off(limit) => format!("{context}, and {why}"),
        };
        self.tell_ssh(what).await;
        false
    }

    /// Makes a [`Fault`] of what went wrong with the guest's SSH.
    pub async fn report_ssh(&self, what: String) {
        let what = self.with_units(what).await;
        self.tell_ssh(what).await;
    }

    async fn tell_ssh(&self, what: String) {
        // Nobody reads any more where there is a fault already.
        let _ = self.symptoms.send(Symptom::Ssh { what }).await;
    }

    /// With what the guest says of its units, where it does.
    async fn with_units(&self, what: String) -> String {
        match self.seen("units", REPLY).await {
            Some(units) => format!("{what}; {}", guest_status::of_units(&units)),
            None => what,
        }
    }

    /// Resolves, within `limit`, when the guest says that no link of it is up and was not a moment ago.
    async fn cut_off(&self, limit: Duration) -> String {
        let cut_off = async || Some(guest_status::cut_off(&self.seen("links", limit).await?)).flatten();
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

    /// Lets the guest power itself off for as long as `limit`, then stops it.
    pub async fn power_off(self, limit: Duration) -> Stopped {
        if self.qmp.execute("system_powerdown", None).await.is_ok() {
            let mut stopped = self.stopped.clone();
            tokio::select! {
                _ = stopped.wait_for(Option::is_some) => {}
                () = sleep(limit) => tracing::warn!(machine = %self.name, "the guest does not power off"),
            }
        }
        self.stop().await
    }

    /// Stops the machine where it stands, and waits until its process, sockets and disk are gone.
    pub async fn stop(self) -> Stopped {
        let Self { mut stopped, token, .. } = self;
        token.disarm().cancel();
        match stopped.wait_for(Option::is_some).await.map(|stopped| stopped.clone()) {
            Ok(Some(stopped)) => stopped,
            // Only a runtime that is shut down takes the task along; it has killed the process then.
            _ => Stopped::unknown(),
        }
    }
}

/// A key for a machine. Comments of keys end up in the guest: this one says where it comes from.
pub(crate) fn fresh_key() -> Result<PrivateKey, ssh_key::Error> {
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
    key.set_comment("loadgauge");
    Ok(key)
}
