// SPDX-License-Identifier: Apache-2.0
//! The plan as `loadgauge plan` prints it.
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;

use serde::Serialize;
use serde_json::Value;

use super::{
    Plan, PlannedExtension, PlannedMachine, PlannedScenario, PlannedStep, ScenarioId, Skipped,
    with_machine_name,
};
use crate::check::{Change, Swap, Sweep};
use crate::machine::{
    Acceleration, Accelerator, Firmware, MachinePlan, MachineSpec, PeerAddress, Start, StartMethod,
};

/// Version of the plan's JSON. It is raised when a field is removed or changes its meaning.
const FORMAT: u32 = 3;

/// Gives the command line of a machine, as far as it is known before the machine starts.
pub type CommandLine<'a> = dyn Fn(&MachinePlan) -> Vec<String> + 'a;

/// The plan for programs: the output of `plan --format json`.
#[derive(Debug, Serialize)]
pub struct PlanView<'a> {
    format: u32,
    image: ImageView<'a>,
    acceleration: &'a Acceleration,
    scenarios: Vec<ScenarioView<'a>>,
    skipped: &'a [Skipped],
}

#[derive(Debug, Serialize)]
struct ImageView<'a> {
    disk: &'a str,
    digest: &'a str,
    name: &'a str,
    version: &'a str,
    architecture: String,
    era: String,
    systemd: u32,
}

#[derive(Debug, Serialize)]
struct ScenarioView<'a> {
    name: &'a ScenarioId,
    file: Option<&'a str>,
    summary: &'a str,
    tags: &'a [String],
    machines: Vec<MachineView<'a>>,
    steps: Vec<StepView<'a>>,
    waive: &'a BTreeMap<Sweep, String>,
}

#[derive(Debug, Serialize)]
struct MachineView<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    spec: &'a MachineSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Ipv4Addr>,
    start: StartView<'a>,
    command: Vec<String>,
    ignition: Value,
    extensions: &'a [PlannedExtension],
    served: Vec<ServedView<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

#[derive(Debug, Serialize)]
struct StartView<'a> {
    how: Start,
    reason: String,
    snapshot: Option<&'a str>,
}

impl<'a> From<&'a StartMethod> for StartView<'a> {
    fn from(method: &'a StartMethod) -> Self {
        Self { how: method.start(), reason: method.reason(), snapshot: method.snapshot() }
    }
}

#[derive(Debug, Serialize)]
struct ServedView<'a> {
    path: &'a str,
    file: &'a str,
    sha512: &'a str,
}

#[derive(Debug, Serialize)]
struct StepView<'a> {
    number: usize,
    #[serde(skip_serializing_if = "str::is_empty")]
    machine: &'a str,
    phase: usize,
    hold: bool,
    line: usize,
    summary: String,
    within_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap: Option<SwapView>,
}

#[derive(Debug, Serialize)]
struct SwapView {
    name: String,
    file: String,
}

impl Plan {
    /// The plan for programs; `command` gives the command line of a machine.
    pub fn view<'a>(&'a self, command: &CommandLine<'_>) -> PlanView<'a> {
        let facts = &self.image.facts;
        let field = |name| facts.os_release.get(name).unwrap_or_default();
        PlanView {
            format: FORMAT,
            image: ImageView {
                disk: self.image.disk.as_str(),
                digest: &self.image.digest,
                name: field("PRETTY_NAME"),
                version: field("VERSION_ID"),
                architecture: facts.architecture.to_string(),
                era: facts.era.to_string(),
                systemd: facts.systemd,
            },
            acceleration: &self.acceleration,
            scenarios: self.scenarios.iter().map(|planned| planned.view(command)).collect(),
            skipped: &self.skipped,
        }
    }
}

impl PlannedScenario {
    fn view<'a>(&'a self, command: &CommandLine<'_>) -> ScenarioView<'a> {
        ScenarioView {
            name: &self.id,
            file: self.scenario.file.as_ref().map(|file| file.as_str()),
            summary: &self.scenario.summary,
            tags: &self.scenario.tags,
            machines: self.machines.iter().map(|machine| machine.view(command)).collect(),
            steps: self.steps.iter().map(|step| step.view(self.machine_of(step))).collect(),
            waive: &self.scenario.waive,
        }
    }
}

impl PlannedMachine {
    fn view<'a>(&'a self, command: &CommandLine<'_>) -> MachineView<'a> {
        let served = self.plan.served.iter().map(|served| ServedView {
            path: &served.url_path,
            file: served.file.as_str(),
            sha512: &served.sha512,
        });
        MachineView {
            name: &self.name,
            spec: &self.plan.spec,
            address: self.plan.peer_address.map(PeerAddress::address),
            start: (&self.start).into(),
            command: command(&self.plan),
            ignition: serde_json::from_str(&self.plan.config.to_json()).unwrap_or(Value::Null),
            extensions: &self.extensions,
            served: served.collect(),
            warnings: &self.warnings,
        }
    }
}

impl PlannedStep {
    fn view<'a>(&'a self, machine: &'a str) -> StepView<'a> {
        StepView {
            number: self.number,
            machine,
            phase: self.phase,
            hold: self.hold,
            line: self.step.line,
            summary: self.step.title(),
            within_seconds: self.step.within.map(|within| within.as_secs_f64()),
            swap: match &self.change {
                Some(Change::Swap(Swap { name, file, .. })) => {
                    Some(SwapView { name: name.clone(), file: file.to_string() })
                }
                _ => None,
            },
        }
    }
}

impl Plan {
    /// The plan for people: the output of `plan --format text`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, formatter: &mut String) -> fmt::Result {
        let name = self.image.facts.os_release.get("PRETTY_NAME").unwrap_or("an image without a name");
        writeln!(formatter, "image      {name}")?;
        writeln!(formatter, "           {}", self.image.disk)?;
        let accelerator = match self.acceleration.accelerator {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "TCG",
        };
        writeln!(formatter, "machines   {accelerator}: {}", self.acceleration.reason)?;
        for planned in &self.scenarios {
            formatter.push('\n');
            planned.write(formatter)?;
        }
        for skipped in &self.skipped {
            write!(formatter, "\n{}: skipped, {}\n", skipped.name, skipped.reason)?;
        }
        Ok(())
    }
}

impl PlannedScenario {
    fn write(&self, formatter: &mut String) -> fmt::Result {
        writeln!(formatter, "{}: {}", self.id, self.scenario.summary)?;
        for machine in &self.machines {
            machine.write(formatter)?;
        }
        for step in &self.steps {
            let again = if step.hold && step.phase > 0 { " (again)" } else { "" };
            let title = with_machine_name(self.machine_of(step), &step.step.title());
            writeln!(formatter, "  {:>3}. {title}{again}", step.number)?;
        }
        for (sweep, reason) in &self.scenario.waive {
            writeln!(formatter, "  waived     sweep {sweep}: {reason}")?;
        }
        Ok(())
    }
}

impl PlannedMachine {
    fn write(&self, formatter: &mut String) -> fmt::Result {
        let spec = &self.plan.spec;
        let processors = spec.processors(self.plan.acceleration.accelerator);
        let size = format!("{} MiB, {processors} processors", spec.memory_mib);
        write!(formatter, "  machine    {}", with_machine_name(&self.name, &size))?;
        if let Some(address) = self.plan.peer_address {
            write!(formatter, ", {}", address.address())?;
        }
        if self.plan.firmware != Firmware::Bios {
            write!(formatter, ", {}", self.plan.firmware.name())?;
        }
        if spec.tpm {
            write!(formatter, ", TPM")?;
        }
        for disk in &spec.disks {
            write!(formatter, ", disk `{}` of {} MiB", disk.serial, disk.size_mib)?;
        }
        writeln!(formatter)?;
        writeln!(formatter, "  start      {}: {}", self.start.start(), self.start.reason())?;
        for extension in &self.extensions {
            let mut line = format!("  extension  {}", extension.name);
            if let Some(format) = extension.format {
                let _ = write!(line, ", {format}");
            }
            writeln!(formatter, "{line}, {} bytes, {}", extension.size, extension.delivered)?;
        }
        Ok(())
    }
}
