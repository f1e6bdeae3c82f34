// SPDX-License-Identifier: Apache-2.0
//! Machines that follow a script, and the report of a run of them.
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use camino::Utf8Path;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::check::{Finding, Outcome};
use crate::machine::{Acceleration, Accelerator, Fault, HostShare};

/// What an operation does in a scripted guest.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Script {
    Pass,
    Fail,
    /// the connection is lost
    Lost,
    /// the connection is lost, and a moment later the machine is found dead
    LostThenDead,
    /// the machine dies and the operation does not end
    Die(Fault),
    /// passes after this time
    After(Duration),
    /// does not end
    Hang,
    /// the harness panics
    Panic,
}

/// What happens when a machine boots.
#[derive(Debug, Clone, Default)]
pub(super) enum Boot {
    #[default]
    Ready,
    Dies(Fault),
    NotStarted,
    /// never ready
    Never,
    /// ready, on a host without a processor for it
    Starved,
    /// ready, and after a reboot with the same boot id
    NeverReboots,
}

#[derive(Default)]
pub(super) struct ScriptedProvider {
    boots: BTreeMap<String, Boot>,
    /// number of machines of scenarios with several, which have the names `scenario/0` and so on
    machines: BTreeMap<String, usize>,
    /// scripts of the first machines of a scenario, which replace the scripts of its steps
    first: Mutex<BTreeMap<String, VecDeque<Script>>>,
    /// the machine that stops slowly
    slow: Option<String>,
    kept: Mutex<Vec<String>>,
    executed: Mutex<Vec<String>>,
    directories: Mutex<Vec<String>>,
    running: AtomicUsize,
    most: AtomicUsize,
    stopped: Mutex<Vec<String>>,
}

pub(super) struct ScriptedMachine {
    provider: Arc<ScriptedProvider>,
    name: String,
    boot: Boot,
    boots: AtomicUsize,
    /// script that replaces those of the steps
    instead: Option<Script>,
    fault: watch::Sender<Option<Fault>>,
}

/// A provider whose counters the test shares.
pub(super) struct Shared(pub(super) Arc<ScriptedProvider>);

impl MachineProvider for Shared {
    type Operation = Script;
    type TestMachine = ScriptedMachine;

    async fn start(
        &self,
        scenario: &ScenarioId,
        directory: &Utf8Path,
    ) -> Result<Vec<ScriptedMachine>, (usize, StartFailure)> {
        let scenario = scenario.without_repetition().to_string();
        self.0.directories.lock().expect("not poisoned").push(directory.to_string());
        match self.0.machines.get(&scenario) {
            None => Ok(vec![self.machine(scenario).map_err(|failure| (0, failure))?]),
            Some(count) => (0..*count)
                .map(|number| {
                    self.machine(format!("{scenario}/{number}")).map_err(|failure| (number, failure))
                })
                .collect(),
        }
    }
}

impl Shared {
    fn machine(&self, name: String) -> Result<ScriptedMachine, StartFailure> {
        let instead = self.0.first.lock().expect("not poisoned").get_mut(&name).and_then(VecDeque::pop_front);
        let boot = self.0.boots.get(&name).cloned().unwrap_or_default();
        if matches!(boot, Boot::NotStarted) {
            let hint = Some("install it".to_owned());
            return Err(StartFailure::Other { message: "cannot start QEMU".to_owned(), hint });
        }
        let running = self.0.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(running, Ordering::SeqCst);
        let (fault, _) = watch::channel(None);
        let provider = Arc::clone(&self.0);
        let boots = AtomicUsize::new(1);
        Ok(ScriptedMachine { provider, name, boot, boots, instead, fault })
    }
}

impl ScriptedMachine {
    fn boot(&self) -> String {
        format!("boot-{}", self.boots.load(Ordering::SeqCst))
    }
}

impl Drop for ScriptedMachine {
    fn drop(&mut self) {
        self.provider.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TestMachine for ScriptedMachine {
    type Operation = Script;

    async fn wait_until_ready(&self, _after: Option<&str>, limit: Duration) -> Result<GuestReady, Fault> {
        match &self.boot {
            Boot::Dies(fault) => Err(fault.clone()),
            Boot::Never => {
                tokio::time::sleep(limit).await;
                Err(Fault::TimedOut {
                    what: "the guest".to_owned(),
                    seconds: limit.as_secs(),
                    console: vec![],
                })
            }
            _ => Ok(GuestReady {
                boot_id: self.boot(),
                state: "running".to_owned(),
                since: Duration::from_secs(1),
                started: None,
            }),
        }
    }

    async fn fault(&self) -> Fault {
        let mut fault = self.fault.subscribe();
        let fault = fault.wait_for(Option::is_some).await.expect("the sender lives").clone();
        fault.expect("waited for")
    }

    async fn connect(&self, _limit: Duration) -> Result<(), StartFailure> {
        Ok(())
    }

    async fn execute(&self, script: &Script, _within: Option<Duration>) -> (Finding, u32) {
        self.provider.executed.lock().expect("not poisoned").push(self.name.clone());
        let outcome = match self.instead.as_ref().unwrap_or(script) {
            Script::Pass => Outcome::Passed,
            Script::Fail => Outcome::Failed,
            Script::Lost => Outcome::Broken,
            Script::LostThenDead => {
                let fault = self.fault.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    fault.send_replace(Some(panic_fault()));
                });
                Outcome::Broken
            }
            Script::Die(fault) => {
                self.fault.send_replace(Some(fault.clone()));
                std::future::pending().await
            }
            Script::After(time) => {
                tokio::time::sleep(*time).await;
                Outcome::Passed
            }
            Script::Hang => std::future::pending().await,
            Script::Panic => panic!("index out of bounds"),
        };
        (finding(outcome), 1)
    }

    async fn reboot(&self) -> Result<(), StartFailure> {
        if !matches!(self.boot, Boot::NeverReboots) {
            self.boots.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn boot_id(&self) -> Result<String, StartFailure> {
        Ok(self.boot())
    }

    fn host_share(&self) -> HostShare {
        let starved = matches!(self.boot, Boot::Starved);
        let wall = Duration::from_mins(1);
        HostShare { wall, lost: if starved { wall } else { Duration::ZERO } }
    }

    fn console_tail(&self) -> Vec<String> {
        vec!["the last line".to_owned()]
    }

    async fn stop(self) {
        if self.provider.slow.as_deref() == Some(self.name.as_str()) {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        self.provider.stopped.lock().expect("not poisoned").push(self.name.clone());
    }

    async fn keep(self, name: &str) -> Result<SshAccess, StartFailure> {
        self.provider.kept.lock().expect("not poisoned").push(name.to_owned());
        Ok(SshAccess { name: name.to_owned(), ssh: format!("ssh {name}") })
    }
}

pub(super) fn panic_fault() -> Fault {
    let line = "Kernel panic - not syncing: Attempted to kill init!".to_owned();
    Fault::Panic { console: vec!["before".to_owned(), line.clone()], line }
}

fn finding(outcome: Outcome) -> Finding {
    let found = if outcome == Outcome::Passed { "" } else { "something else" };
    Finding {
        outcome,
        expected: "something".to_owned(),
        found: found.to_owned(),
        hint: None,
        commands: vec![],
    }
}

/// A run of scripted machines.
pub(super) struct TestRun {
    provider: Arc<ScriptedProvider>,
    run: Run<Script>,
    token: CancellationToken,
}

/// The results of a [`TestRun`].
pub(super) struct Report {
    pub(super) result: RunResult,
    pub(super) events: Vec<EventKind>,
    /// scenarios whose machine was stopped, in order
    pub(super) stopped: Vec<String>,
    /// machines that were left running
    pub(super) kept: Vec<String>,
    /// the machine of each operation
    pub(super) executed: Vec<String>,
    /// directories of the machines
    pub(super) directories: Vec<String>,
    /// most machines at a time
    pub(super) most: usize,
    /// machines that still exist
    pub(super) left: usize,
}

impl TestRun {
    pub(super) fn new(machines: usize) -> Self {
        let acceleration =
            Acceleration { accelerator: Accelerator::Tcg, factor: 1.0, reason: "a test".to_owned() };
        let mut limits = Limits::under(&acceleration);
        limits.aftermath = Duration::from_millis(200);
        let header = RunHeader {
            version: "0".to_owned(),
            directory: "/run".into(),
            image: "/image".into(),
            image_digest: String::new(),
            image_name: "Flatcar".to_owned(),
            acceleration,
        };
        let run = Run {
            header,
            jobs: vec![],
            skipped: vec![],
            order: StartOrder::default(),
            budget: Budget { machines, cpus: usize::MAX, memory_mib: u64::MAX },
            fail_fast: false,
            retries: 0,
            flaky: FlakyPolicy::Pass,
            keep: KeepPolicy::Never,
            limits,
        };
        Self { provider: Arc::default(), run, token: CancellationToken::new() }
    }

    pub(super) fn scenario(self, name: &str, scripts: &[Script]) -> Self {
        let actions = scripts.iter().cloned().map(Action::Execute).collect();
        self.actions(name, actions)
    }

    pub(super) fn actions(self, name: &str, actions: Vec<Action<Script>>) -> Self {
        let role = |action: &Action<Script>| match action {
            Action::Reboot => StepRole::Action,
            _ => StepRole::Check,
        };
        let actions = actions.into_iter().map(|action| (role(&action), action)).collect();
        self.roles(name, actions)
    }

    /// A scenario with steps that have these roles.
    pub(super) fn roles(mut self, name: &str, actions: Vec<(StepRole, Action<Script>)>) -> Self {
        let step = |(role, action)| JobStep {
            summary: format!("{action:?}"),
            action,
            role,
            machine: 0,
            within: None,
        };
        let steps = actions.into_iter().map(step).collect();
        let directory = Utf8Path::new("/run").join(name);
        self.run.jobs.push(Job {
            id: name.into(),
            needs: Needs { cpus: 1, memory_mib: 1000 },
            summary: name.to_owned(),
            directory,
            timeout: Duration::from_mins(1),
            machines: vec![String::new()],
            steps,
        });
        self
    }

    /// Gives the scenario that was added last several machines, which its steps use in turn.
    pub(super) fn machines(mut self, names: &[&str]) -> Self {
        let job = self.run.jobs.last_mut().expect("a scenario");
        job.machines = names.iter().map(|name| (*name).to_owned()).collect();
        for (number, step) in job.steps.iter_mut().enumerate() {
            step.machine = number % names.len();
        }
        let provider = Arc::get_mut(&mut self.provider).expect("not shared yet");
        provider.machines.insert(job.id.to_string(), names.len());
        self
    }

    /// Gives the first machines of the scenario that was added last scripts of their own.
    pub(super) fn at_first(self, scripts: &[Script]) -> Self {
        let name = self.run.jobs.last().expect("a scenario").id.without_repetition().to_string();
        let scripts = scripts.iter().cloned().collect();
        self.provider.first.lock().expect("not poisoned").insert(name, scripts);
        self
    }

    /// Sets the needs of the scenario that was added last.
    pub(super) fn needs(mut self, cpus: usize, memory_mib: u64) -> Self {
        self.run.jobs.last_mut().expect("a scenario").needs = Needs { cpus, memory_mib };
        self
    }

    /// Changes the options of the run.
    pub(super) fn with(mut self, change: impl FnOnce(&mut Run<Script>)) -> Self {
        change(&mut self.run);
        self
    }

    /// Sets the time-out of the scenario that was added last.
    pub(super) fn timeout(mut self, limit: Duration) -> Self {
        self.run.jobs.last_mut().expect("a scenario").timeout = limit;
        self
    }

    pub(super) fn boot(mut self, name: &str, boot: Boot) -> Self {
        Arc::get_mut(&mut self.provider).expect("not shared yet").boots.insert(name.to_owned(), boot);
        self
    }

    pub(super) fn slow_to_stop(mut self, name: &str) -> Self {
        Arc::get_mut(&mut self.provider).expect("not shared yet").slow = Some(name.to_owned());
        self
    }

    pub(super) fn skipped(mut self, scenario: &str, reason: &str) -> Self {
        let (scenario, reason) = (scenario.into(), reason.to_owned());
        self.run.skipped.push(Skipped { scenario, reason });
        self
    }

    pub(super) fn fail_fast(mut self) -> Self {
        self.run.fail_fast = true;
        self
    }

    /// Interrupts the run after this time.
    pub(super) fn interrupted_after(self, time: Duration) -> Self {
        let token = self.token.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            token.cancel();
        });
        self
    }

    pub(super) async fn run(self) -> Report {
        let (events, mut receiver) = Events::channel();
        let shared = Arc::new(Shared(Arc::clone(&self.provider)));
        let result = tokio::time::timeout(Duration::from_secs(10), run(self.run, shared, events, self.token))
            .await
            .expect("a run ends");
        let mut events = Vec::new();
        while let Some(event) = receiver.recv().await {
            events.push(event.kind);
        }
        let stopped = self.provider.stopped.lock().expect("not poisoned").clone();
        let kept = self.provider.kept.lock().expect("not poisoned").clone();
        let executed = self.provider.executed.lock().expect("not poisoned").clone();
        let directories = self.provider.directories.lock().expect("not poisoned").clone();
        let (most, left) =
            (self.provider.most.load(Ordering::SeqCst), self.provider.running.load(Ordering::SeqCst));
        Report { result, events, stopped, kept, executed, directories, most, left }
    }
}

impl Report {
    /// The outcomes of a scenario's steps, in order.
    pub(super) fn steps(&self, name: &str) -> Vec<Outcome> {
        self.findings(name).into_iter().map(|(outcome, _)| outcome).collect()
    }

    /// The outcomes of a scenario's steps and what was found.
    pub(super) fn findings(&self, name: &str) -> Vec<(Outcome, String)> {
        let step = |event: &EventKind| match event {
            EventKind::StepFinished { scenario, outcome, finding, .. } if scenario.to_string() == name => {
                Some((*outcome, finding.as_ref().map(|finding| finding.found.clone()).unwrap_or_default()))
            }
            _ => None,
        };
        self.events.iter().filter_map(step).collect()
    }

    /// How a scenario ended.
    pub(super) fn end(&self, name: &str) -> (Outcome, Option<Cause>) {
        let end = |event: &EventKind| match event {
            EventKind::ScenarioFinished { scenario, outcome, cause, .. } if scenario.to_string() == name => {
                Some((*outcome, cause.clone()))
            }
            _ => None,
        };
        self.events.iter().find_map(end).expect("the scenario ended")
    }

    /// The scenarios that were started, in order.
    pub(super) fn started(&self) -> Vec<String> {
        let started = self.events.iter().filter_map(|event| match event {
            EventKind::ScenarioStarted { scenario, .. } => Some(scenario.to_string()),
            _ => None,
        });
        started.collect()
    }

    /// Why a scenario was skipped.
    pub(super) fn skip_reason(&self, name: &str) -> Option<&str> {
        self.events.iter().find_map(|event| match event {
            EventKind::ScenarioSkipped { scenario, reason } if scenario.to_string() == name => {
                Some(reason.as_str())
            }
            _ => None,
        })
    }
}
