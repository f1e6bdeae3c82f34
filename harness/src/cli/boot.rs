// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::Hint as _;
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use loadgauge_host::quote;
use tokio_util::sync::CancellationToken;

use super::arguments::MachineChoice;
use super::context::Context;
use super::run::{own_program, runtime};
use super::start::StartArguments;
use super::{Exit, Failure, output};
use crate::guest::{Exit as GuestExit, SessionEnd, shell};
use crate::machine::{
    BeginError, Decision, Fault, Machine, MachinePlan, MachineStarter, Place, Supervisor, USER,
};
use crate::runner::{Interrupt, Limits, hint_for};
use crate::scenario::{Scenario, Surroundings};

/// `loadgauge boot`
#[derive(Debug, Args)]
pub(super) struct BootArguments {
    /// The image: a Flatcar disk, the directory of a release, or the release of a stand-in that was
    /// made here; the stand-in made last when not given
    #[arg(value_name = "IMAGE", env = "LOADGAUGE_IMAGE")]
    image: Option<Utf8PathBuf>,
    /// Put an extension into the guest: an image file, or a recipe by its name or its file `*.toml`
    #[arg(long, value_name = "FILE|RECIPE")]
    sysext: Vec<Utf8PathBuf>,
    /// The author's own part of the Ignition config, in Butane
    #[arg(long, value_name = "FILE")]
    butane: Option<Utf8PathBuf>,
    /// The guest's memory, such as 2GiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// The guest's processors
    #[arg(long, value_name = "N")]
    cpus: Option<u32>,
    /// Let the guest reach whatever the host reaches, and not this program alone
    #[arg(long)]
    internet: bool,
    /// Take recipes from this directory instead of the built-in catalogue
    #[arg(long, value_name = "DIR", env = "LOADGAUGE_SCENARIOS")]
    scenarios: Option<Utf8PathBuf>,
    /// how
    #[command(flatten)]
    machine: MachineChoice,
    /// cold or warm
    #[command(flatten)]
    start: StartArguments,
    /// Run this in the guest instead of a shell; its failing is told by exit status 1
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// `loadgauge boot`: a machine for somebody to look into. Its records go with it.
pub(super) fn boot(arguments: &BootArguments) -> Result<Exit, Failure> {
    let context = Context::open(arguments.scenarios.as_deref(), arguments.image.as_deref())?;
    let scenario = arguments.scenario(context.catalogue.root())?;
    let runtime = runtime()?;
    let acceleration = runtime.block_on(context.prove(arguments.machine.accel))?;
    let plan = context.plan(vec![scenario], &acceleration, arguments.machine.firmware)?;
    let machine = plan.scenarios.into_iter().flat_map(|planned| planned.machines).next();
    let machine = machine.map(|machine| machine.plan);
    let machine = machine.ok_or_else(|| Failure::words(Exit::Internal, "no machine was planned", None))?;
    let limits = Limits::under(&acceleration);
    let starter = arguments.start.starter(&context.store, &context.image, &acceleration);
    let decisions = starter.decide(arguments.start.start, &[(&machine, false)], 1);
    let exit = runtime.block_on(visit(machine, (&starter, &decisions), limits, arguments.line()));
    // A thread that still reads the terminal is no reason to stay.
    runtime.shutdown_background();
    exit
}

/// Boots a machine, ties the terminal to its guest, and leaves nothing of it.
async fn visit(
    plan: MachinePlan,
    start: (&MachineStarter, &[Decision]),
    limits: Limits,
    command: Option<String>,
) -> Result<Exit, Failure> {
    let supervisor = Supervisor::new()?;
    let interrupt = Interrupt::listen(|| ()).map_err(|error| Failure::new(Exit::Internal, &error, None))?;
    let token = interrupt.token();
    let machine = tokio::select! {
        machine = bring_up(plan, start, limits, command.is_none(), &supervisor) => machine.map(Some),
        () = token.cancelled() => Ok(None),
    };
    let result = match machine {
        Ok(Some(machine)) => tie(machine, limits, command, token.child_token()).await,
        Ok(None) => Ok(Exit::Interrupted),
        Err(failure) => Err(failure),
    };
    supervisor.stop_all().await;
    if token.is_cancelled() { Ok(Exit::Interrupted) } else { result }
}

async fn bring_up(
    plan: MachinePlan,
    (starter, decisions): (&MachineStarter, &[Decision]),
    limits: Limits,
    on_terminal: bool,
    supervisor: &Supervisor,
) -> Result<Machine, Failure> {
    output::tell(&format!("booting {} ...", plan.image.disk));
    let records = supervisor.directory().join("records");
    let program = own_program()?;
    let place = Place { directory: &records, relay: &program, supervisor };
    let decision = decisions.first().cloned().unwrap_or_else(|| Decision::cold("nothing was decided"));
    let (machine, started) = match starter.start(plan, &decision, place).await {
        Ok(started) => started,
        Err(BeginError::Start(error)) => return Err(Failure::new(Exit::Host, &error, error.hint())),
        Err(BeginError::Fault(fault)) => return Err(dead(&fault)),
    };
    let ready = machine.ready(None, limits.boot * Limits::GIVE_UP).await.map_err(|fault| dead(&fault))?;
    let how_to_leave = if on_terminal { "; `exit` ends it, and so does ~. after Enter" } else { "" };
    output::tell(&format!(
        "{}, up in {:.1} s, systemd says `{}`{how_to_leave}",
        started.words(),
        ready.since.as_secs_f64(),
        ready.state
    ));
    Ok(machine)
}

/// Ties the terminal to a guest. `over` ends it, and is cancelled when the machine is dead.
async fn tie(
    machine: Machine,
    limits: Limits,
    command: Option<String>,
    over: CancellationToken,
) -> Result<Exit, Failure> {
    let (address, key) = (machine.ssh_address(), machine.key().clone());
    let limit = limits.connect * Limits::GIVE_UP;
    let ends = over.clone();
    let mut person = tokio::task::spawn_blocking(move || {
        shell(address, USER, &key, command.as_deref(), limit, &|| ends.is_cancelled())
    });
    let (left, fault) = tokio::select! {
        left = &mut person => (left, None),
        fault = machine.fault() => {
            // It is waited for: the terminal is given back as it was.
            over.cancel();
            (person.await, Some(fault))
        }
    };
    let left = left.map_err(|error| Failure::new(Exit::Internal, &error, None))?;
    // A guest that powers off or dies takes the connection along, and is the better cause.
    let fault = match (fault, &left) {
        (None, Err(_)) => tokio::time::timeout(limits.aftermath, machine.fault()).await.ok(),
        (fault, _) => fault,
    };
    match (fault, left) {
        (Some(Fault::PoweredOff), _)
        | (None, Ok(SessionEnd::Ended(GuestExit::Status(0)) | SessionEnd::Disconnected)) => Ok(Exit::Passed),
        (Some(fault), _) => Err(dead(&fault)),
        (None, Ok(SessionEnd::Ended(_))) => Ok(Exit::Failed),
        (None, Err(error)) => Err(Failure::new(Exit::Failed, &error, error.hint())),
    }
}

fn dead(fault: &Fault) -> Failure {
    let mut message = fault.to_string();
    for line in fault.console() {
        let _ = write!(message, "\n  | {line}");
    }
    Failure { exit: Exit::Failed, message, hint: hint_for(fault) }
}

impl BootArguments {
    /// The command as the guest's shell gets it.
    fn line(&self) -> Option<String> {
        let words: Vec<String> = self.command.iter().map(|word| quote(word)).collect();
        match self.command.as_slice() {
            [] => None,
            // One word may be a whole line, as with ssh(1).
            [line] => Some(line.clone()),
            _ => Some(words.join(" ")),
        }
    }

    /// What is asked for as a scenario, read by those who read scenario files: so that both take and
    /// refuse the same.
    fn scenario(&self, catalogue: &Utf8Path) -> Result<Scenario, Failure> {
        let file = Utf8PathBuf::from("./boot");
        let recipes = vec![catalogue.join("recipes")];
        let around = Surroundings { name: "boot".to_owned(), file, recipes };
        Scenario::parse(&self.text(), &around)
            .map_err(|error| Failure::words(Exit::Usage, error.report(), None))
    }

    fn text(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut text = "summary = \"a machine to look into\"\n[machine]\n".to_owned();
        let mut line = |key: &str, value: String| {
            let _ = writeln!(text, "{key} = {value}");
        };
        if let Some(memory) = &self.memory {
            line("memory", quoted(memory));
        }
        if let Some(cpus) = self.cpus {
            line("cpus", cpus.to_string());
        }
        if self.internet {
            line("network", quoted("internet"));
        }
        if let Some(butane) = &self.butane {
            line("[ignition]\nbutane", quoted(butane.as_str()));
        }
        for sysext in &self.sysext {
            let key = if is_recipe(sysext) { "recipe" } else { "path" };
            line(&format!("[[sysext]]\n{key}"), quoted(sysext.as_str()));
        }
        text.push_str("[[step]]\nrun = \"true\"\n");
        text
    }
}

/// Whether this is a recipe and not an image: a file of the kind, or a plain name that is no file.
fn is_recipe(sysext: &Utf8Path) -> bool {
    let plain = sysext.components().count() == 1 && sysext.extension().is_none();
    sysext.extension() == Some("toml") || (plain && !sysext.exists())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::arguments::{Arguments, Command};

    fn arguments(line: &str) -> BootArguments {
        let words = std::iter::once("loadgauge").chain(line.split(' '));
        match Arguments::parse_from(words).command {
            Command::Boot(arguments) => arguments,
            other => panic!("another command: {other:?}"),
        }
    }

    #[test]
    fn arguments_become_a_scenario() {
        let arguments =
            arguments("boot --memory 2GiB --cpus 4 --sysext hello --sysext ./it's.raw --butane a.bu");
        assert_eq!(
            arguments.text(),
            "summary = \"a machine to look into\"\n[machine]\nmemory = \"2GiB\"\ncpus = 4\n\
             [ignition]\nbutane = \"a.bu\"\n[[sysext]]\nrecipe = \"hello\"\n[[sysext]]\npath = \"./it's.raw\"\n\
             [[step]]\nrun = \"true\"\n"
        );
    }

    #[test]
    fn one_word_is_a_line_and_several_are_quoted() {
        assert_eq!(arguments("boot").line(), None);
        assert_eq!(arguments("boot -- true;false").line().as_deref(), Some("true;false"));
        assert_eq!(arguments("boot -- echo a;b").line().as_deref(), Some("echo 'a;b'"));
    }
}
