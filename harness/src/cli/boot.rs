// SPDX-License-Identifier: Apache-2.0
use std::fmt::Write as _;

use camino::Utf8PathBuf;
use clap::Args;
use loadgauge_host::{Store, quote};
use tokio_util::sync::CancellationToken;

use super::catalogue_choice::CatalogueChoice;
use super::context::Context;
use super::image_choice::ImageArgument;
use super::machine_choice::MachineChoice;
use super::runtime::{self, listen_for_interrupts, own_program};
use super::start::StartArguments;
use super::{Exit, Failure, output};
use crate::guest::{Exit as GuestExit, SessionEnd, shell};
use crate::machine::{
    Fault, Machine, MachineContext, MachinePlan, MachineSpec, MachineStarter, Network, StartMethod,
    StarterError, Supervisor, USER,
};
use crate::report::stop_github_commands;
use crate::runner::{Limits, hint_for};
use crate::scenario::{
    AuthorConfig, Catalogue, CatalogueError, IgnitionRequest, MachineRequest, Scenario, SysextRequest,
    parse_cpus, parse_memory,
};

/// Arguments of `loadgauge boot`.
#[derive(Debug, Args)]
pub(super) struct BootArguments {
    #[command(flatten)]
    image: ImageArgument,
    /// Extension to merge in the guest: an image file, a directory with `usr` or `opt`, or a recipe by
    /// its name or its file `*.toml`; can be repeated
    #[arg(long, value_name = "FILE|DIR|RECIPE")]
    sysext: Vec<Utf8PathBuf>,
    /// Butane config to merge into the Ignition config of the guest
    #[arg(long, value_name = "FILE")]
    butane: Option<Utf8PathBuf>,
    /// Memory of the guest, such as `2GiB`
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u32>,
    /// Number of processors of the guest
    #[arg(long, value_name = "N", value_parser = parse_cpus)]
    cpus: Option<u32>,
    /// Give the guest access to the networks of the host
    #[arg(long)]
    internet: bool,
    #[command(flatten)]
    catalogue: CatalogueChoice,
    #[command(flatten)]
    machine: MachineChoice,
    #[command(flatten)]
    start: StartArguments,
    /// Command to run in the guest instead of a shell; if it fails, the exit status is 1
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Boots a machine and connects the terminal to its guest. The files of the machine are removed at the end.
pub(super) fn run(arguments: &BootArguments) -> Result<Exit, Failure> {
    // An error in an argument is reported on hosts without an image too.
    let store = Store::of_user()?;
    let scenario = arguments.scenario(&arguments.catalogue.open(&store)?, &store)?;
    let context = Context::open(&arguments.catalogue, arguments.image.image.as_deref())?;
    let runtime = runtime::start()?;
    let acceleration = runtime.block_on(context.prove(arguments.machine.accel))?;
    let starter = arguments.start.starter(&context.store, &context.image, &acceleration);
    let choose = |machines: &[(&MachinePlan, bool)]| arguments.start.choose(&starter, machines, 1);
    let plan = context.plan(vec![scenario], &acceleration, arguments.machine.firmware, &choose)?;
    let machine = plan.scenarios.into_iter().flat_map(|planned| planned.machines).next();
    let machine = machine.ok_or_else(|| Failure::new(Exit::Internal, "no machine was planned"))?;
    let limits = Limits::under(&acceleration);
    let start = (&starter, &machine.start);
    let exit = runtime.block_on(boot_and_connect(machine.plan, start, limits, arguments.command_line()));
    // A blocking thread may still read the terminal.
    runtime.shutdown_background();
    exit
}

/// Boots a machine, connects the terminal to its guest, and removes the machine.
async fn boot_and_connect(
    plan: MachinePlan,
    start: (&MachineStarter, &StartMethod),
    limits: Limits,
    command: Option<String>,
) -> Result<Exit, Failure> {
    let supervisor = Supervisor::new()?;
    let interrupt = listen_for_interrupts()?;
    let token = interrupt.token();
    let machine = tokio::select! {
        machine = start_machine(plan, start, limits, command.is_none(), &supervisor) => machine.map(Some),
        () = token.cancelled() => Ok(None),
    };
    let result = match machine {
        Ok(Some(machine)) => connect(machine, limits, command, token.child_token()).await,
        Ok(None) => Ok(Exit::Interrupted),
        Err(failure) => Err(failure),
    };
    supervisor.stop_all().await;
    if token.is_cancelled() { Ok(Exit::Interrupted) } else { result }
}

/// Starts a machine and waits until its guest is ready.
async fn start_machine(
    plan: MachinePlan,
    (starter, method): (&MachineStarter, &StartMethod),
    limits: Limits,
    on_terminal: bool,
    supervisor: &Supervisor,
) -> Result<Machine, Failure> {
    output::message(&format!("booting {} ...", plan.image.disk));
    let records = supervisor.directory().join("records");
    let program = own_program()?;
    let context = MachineContext { directory: &records, relay: &program, supervisor };
    let (machine, description) = match starter.start(plan, method, context).await {
        Ok((machine, mode)) => (machine, mode.description()),
        Err(StarterError::Start(error)) => return Err(Failure::of(Exit::Host, &error)),
        Err(StarterError::Fault(fault)) => return Err(fault_failure(&fault)),
    };
    let ready =
        machine.ready(None, limits.boot * Limits::GIVE_UP).await.map_err(|fault| fault_failure(&fault))?;
    let how_to_leave = if on_terminal { "; leave with `exit`, or with Enter ~ ." } else { "" };
    output::message(&format!(
        "{description}, ready in {:.1} s, systemd reports `{}`{how_to_leave}",
        ready.since.as_secs_f64(),
        ready.state
    ));
    Ok(machine)
}

/// Connects the terminal to a guest until the shell ends, `cancelled` is cancelled or the machine dies.
async fn connect(
    machine: Machine,
    limits: Limits,
    command: Option<String>,
    cancelled: CancellationToken,
) -> Result<Exit, Failure> {
    stop_github_commands();
    let (address, key) = (machine.ssh_address(), machine.key().clone());
    let limit = limits.connect * Limits::GIVE_UP;
    let ends = cancelled.clone();
    let mut session = tokio::task::spawn_blocking(move || {
        shell(address, USER, &key, command.as_deref(), limit, &|| ends.is_cancelled())
    });
    let (left, fault) = tokio::select! {
        left = &mut session => (left, None),
        fault = machine.fault() => {
            // Awaited, so that the session restores the modes of the terminal.
            cancelled.cancel();
            (session.await, Some(fault))
        }
    };
    let left = left.map_err(Failure::internal)?;
    // The connection may have ended because the guest powered off or died: that is the cause to report.
    let fault = match (fault, &left) {
        (None, Err(_)) => tokio::time::timeout(limits.aftermath, machine.fault()).await.ok(),
        (fault, _) => fault,
    };
    match (fault, left) {
        (Some(Fault::PoweredOff), _)
        | (None, Ok(SessionEnd::Ended(GuestExit::Status(0)) | SessionEnd::Disconnected)) => Ok(Exit::Passed),
        (Some(fault), _) => Err(fault_failure(&fault)),
        (None, Ok(SessionEnd::Ended(_))) => Ok(Exit::Failed),
        (None, Err(error)) => Err(Failure::of(Exit::Failed, &error)),
    }
}

/// The failure of a machine that cannot go on, with the lines of the console that show it.
fn fault_failure(fault: &Fault) -> Failure {
    let mut message = fault.to_string();
    for line in fault.console() {
        let _ = write!(message, "\n  | {line}");
    }
    let failure = Failure::new(Exit::Failed, message);
    match hint_for(fault) {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

impl BootArguments {
    /// The command line for the shell of the guest, or `None` for an interactive shell.
    fn command_line(&self) -> Option<String> {
        match self.command.as_slice() {
            [] => None,
            // A single argument is a whole line, as with ssh(1).
            [line] => Some(line.clone()),
            arguments => {
                let quoted: Vec<String> = arguments.iter().map(|argument| quote(argument)).collect();
                Some(quoted.join(" "))
            }
        }
    }

    /// The scenario of a machine without steps.
    fn scenario(&self, catalogue: &Catalogue, store: &Store) -> Result<Scenario, CatalogueError> {
        let mut spec = MachineSpec { cpus: self.cpus, ..MachineSpec::default() };
        if let Some(memory_mib) = self.memory {
            spec.memory_mib = memory_mib;
        }
        if self.internet {
            spec.network = Network::Internet;
        }
        let config = self.butane.clone().map(AuthorConfig::Butane);
        let ignition = IgnitionRequest { config, ..IgnitionRequest::default() };
        let sysexts = self
            .sysext
            .iter()
            .map(|argument| Ok(SysextRequest::new(catalogue.extension(argument, store)?, None)))
            .collect::<Result<_, CatalogueError>>()?;
        let machine = MachineRequest { spec, sysexts, ignition, ..MachineRequest::default() };
        Ok(Scenario::new("boot", "an interactive machine", machine, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;
    use clap::Parser as _;

    use super::*;
    use crate::scenario::Source;

    #[derive(clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        boot: BootArguments,
    }

    fn arguments(line: &str) -> BootArguments {
        CommandLine::parse_from(line.split(' ')).boot
    }

    #[test]
    fn arguments_become_a_scenario() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
        std::fs::create_dir(root.join("recipes")).expect("created");
        for file in ["recipes/hello.toml", "it's.raw"] {
            std::fs::write(root.join(file), "").expect("written");
        }
        let catalogue = Catalogue::at(root).expect("a catalogue");
        let store = Store::at(root.join("store"));
        let image = root.join("it's.raw");
        let boot = arguments(&format!(
            "boot --memory 2GiB --cpus 4 --internet --sysext hello --sysext {image} --butane a.bu"
        ));
        let scenario = boot.scenario(&catalogue, &store).expect("a scenario");
        let [machine] = scenario.machines.as_slice() else { panic!("one machine") };
        let spec = MachineSpec {
            memory_mib: 2048,
            cpus: Some(4),
            network: Network::Internet,
            ..MachineSpec::default()
        };
        assert_eq!(machine.spec, spec);
        let sources: Vec<Source> = machine.sysexts.iter().map(|sysext| sysext.source.clone()).collect();
        assert_eq!(sources, [Source::Recipe(root.join("recipes/hello.toml")), Source::Image(image)]);
        assert_eq!(machine.ignition.config, Some(AuthorConfig::Butane("a.bu".into())));
        assert!(scenario.steps.is_empty());
    }

    #[test]
    fn an_extension_that_does_not_exist_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
        let catalogue = Catalogue::at(root).expect("a catalogue");
        let store = Store::at(root.join("store"));
        let error = |argument: &str| {
            let boot = arguments(&format!("boot --sysext {argument}"));
            boot.scenario(&catalogue, &store).expect_err(argument).to_string()
        };
        assert_eq!(error("helo"), "there is no recipe `helo`");
        assert_eq!(error("./no.raw"), "there is no file `./no.raw`");
        assert_eq!(error("own/no.toml"), "there is no file `own/no.toml`");
    }

    #[test]
    fn one_argument_is_a_line_and_several_are_quoted() {
        assert_eq!(arguments("boot").command_line(), None);
        assert_eq!(arguments("boot -- true;false").command_line().as_deref(), Some("true;false"));
        assert_eq!(arguments("boot -- echo a;b").command_line().as_deref(), Some("echo 'a;b'"));
    }
}
