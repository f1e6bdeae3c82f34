// SPDX-License-Identifier: Apache-2.0
use super::arguments::IgnitionArguments;
use super::context::Context;
use super::{Exit, Failure, output};
use crate::machine::{AccelChoice, complete_config};
use crate::scenario::{Planned, PlannedMachine, select};
use loadgauge_host::Hint as _;

/// Stands where the key of the machine will: it is made when the machine is started.
const KEY: &str = "ssh-ed25519 MADE-WHEN-THE-MACHINE-STARTS loadgauge";

/// `loadgauge ignition`
pub(super) fn ignition(arguments: &IgnitionArguments) -> Result<Exit, Failure> {
    let context = Context::open(arguments.scenarios.as_deref(), arguments.image.image.as_deref())?;
    let scenarios = select(&context.catalogue, std::slice::from_ref(&arguments.scenario))?;
    if let [_, second, ..] = scenarios.as_slice() {
        let message =
            format!("`{}` means several scenarios, `{}` among them", arguments.scenario, second.name);
        return Err(Failure::words(Exit::Usage, message, Some("name one")));
    }
    let acceleration = super::run::runtime()?.block_on(context.prove(AccelChoice::Tcg))?;
    let plan = context.plan(scenarios, &acceleration, None)?;
    if let Some(skipped) = plan.skipped.first() {
        let message = format!("`{}` does not run on this image: {}", skipped.name, skipped.reason);
        return Err(Failure::words(Exit::Nothing, message, None));
    }
    for planned in &plan.scenarios {
        let machine = choose(planned, arguments.machine.as_deref())?;
        let config = complete_config(&machine.plan.config, KEY)
            .map_err(|error| Failure::new(Exit::Usage, &error, error.hint()))?;
        output::print(&format!("{}\n", config.to_json_pretty().trim_end()))?;
    }
    Ok(Exit::Passed)
}

/// The machine that is meant: by its name, or the only one.
fn choose<'a>(planned: &'a Planned, name: Option<&str>) -> Result<&'a PlannedMachine, Failure> {
    let (scenario, machines) = (&planned.scenario.name, &planned.machines);
    let (message, hint) = match (name, machines.as_slice()) {
        (None, [only]) => return Ok(only),
        (Some(_), [_]) => {
            (format!("`{scenario}` has one machine, and it has no name"), "leave out `--machine`".to_owned())
        }
        (name, _) => {
            if let Some(found) = machines.iter().find(|machine| Some(machine.name.as_str()) == name) {
                return Ok(found);
            }
            let names: Vec<&str> = machines.iter().map(|machine| machine.name.as_str()).collect();
            let message = match name {
                Some(name) => format!("`{scenario}` has no machine `{name}`"),
                None => format!("`{scenario}` has several machines"),
            };
            (message, format!("say which: --machine {}", names.join("|")))
        }
    };
    Err(Failure::words(Exit::Usage, message, Some(&hint)))
}
