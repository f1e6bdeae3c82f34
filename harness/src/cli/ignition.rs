// SPDX-License-Identifier: Apache-2.0
use clap::Args;

use super::catalogue_choice::CatalogueChoice;
use super::context::Context;
use super::image_choice::ImageOption;
use super::{Exit, Failure, output, runtime};
use crate::machine::{AccelChoice, MachinePlan, StartMethod, complete_config};
use crate::scenario::{PlannedMachine, PlannedScenario, select};

/// Printed in place of the machine's key, which is created when the machine starts.
const KEY: &str = "ssh-ed25519 CREATED-WHEN-THE-MACHINE-STARTS loadgauge";

/// Arguments of `loadgauge ignition`.
#[derive(Debug, Args)]
pub(super) struct IgnitionArguments {
    /// Scenario: its name or a file `*.toml`
    scenario: String,
    /// Machine of the scenario, where it has several
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    #[command(flatten)]
    catalogue: CatalogueChoice,
    #[command(flatten)]
    image: ImageOption,
}

/// Prints the Ignition config of a machine.
pub(super) fn run(arguments: &IgnitionArguments) -> Result<Exit, Failure> {
    let context = Context::open(&arguments.catalogue, arguments.image.image.as_deref())?;
    let scenarios = select(&context.catalogue, std::slice::from_ref(&arguments.scenario))?;
    if let [first, second, ..] = scenarios.as_slice() {
        let (pattern, first, second) = (&arguments.scenario, &first.name, &second.name);
        let message = format!("`{pattern}` selects several scenarios, such as `{first}` and `{second}`");
        return Err(Failure::new(Exit::Usage, message).with_hint("name one scenario"));
    }
    let acceleration = runtime::start()?.block_on(context.prove(AccelChoice::Tcg))?;
    let start_cold = |machines: &[(&MachinePlan, bool)]| {
        vec![StartMethod::cold("the machine is not started"); machines.len()]
    };
    let plan = context.plan(scenarios, &acceleration, None, &start_cold)?;
    if let Some(skipped) = plan.skipped.first() {
        let message = format!("scenario `{}` does not run on this image: {}", skipped.name, skipped.reason);
        return Err(Failure::new(Exit::Nothing, message));
    }
    for planned in &plan.scenarios {
        let machine = choose(planned, arguments.machine.as_deref())?;
        let config =
            complete_config(&machine.plan.config, KEY).map_err(|error| Failure::of(Exit::Usage, &error))?;
        output::print(&format!("{}\n", config.to_json_pretty().trim_end()))?;
    }
    Ok(Exit::Passed)
}

/// The machine with a name, or the only one.
fn choose<'a>(planned: &'a PlannedScenario, name: Option<&str>) -> Result<&'a PlannedMachine, Failure> {
    let (scenario, machines) = (&planned.scenario.name, &planned.machines);
    let (message, hint) = match (name, machines.as_slice()) {
        (None, [only]) => return Ok(only),
        (Some(_), [_]) => (
            format!("scenario `{scenario}` has one machine, which has no name"),
            "omit `--machine`".to_owned(),
        ),
        (name, _) => {
            if let Some(found) = machines.iter().find(|machine| Some(machine.name.as_str()) == name) {
                return Ok(found);
            }
            let names: Vec<&str> = machines.iter().map(|machine| machine.name.as_str()).collect();
            let message = match name {
                Some(name) => format!("scenario `{scenario}` has no machine `{name}`"),
                None => format!("scenario `{scenario}` has several machines"),
            };
            (message, format!("choose one with `--machine {}`", names.join("|")))
        }
    };
    Err(Failure::new(Exit::Usage, message).with_hint(hint))
}
