// SPDX-License-Identifier: Apache-2.0
//! The plan as it is printed.
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;

use serde::Serialize;
use serde_json::Value;

use super::{Artefact, Plan, Planned, PlannedMachine, PlannedStep, Skipped};
use crate::check::{Change, Swap, Sweep};
use crate::machine::{
    Acceleration, Accelerator, Decision, Firmware, MachinePlan, MachineSpec, PeerAddress, Start,
};

/// Version of the plan's JSON. It rises when a field changes its meaning or goes.
const FORMAT: u32 = 3;

/// Tells the command line of a machine, as far as it is known before the machine is started.
pub type CommandLine<'a> = dyn Fn(&MachinePlan) -> Vec<String> + 'a;

/// The plan for programs: what `plan --format json` prints.
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
    name: &'a str,
    file: &'a str,
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
    extensions: &'a [Artefact],
    served: Vec<ServedView<'a>>,
}

#[derive(Debug, Serialize)]
struct StartView<'a> {
    how: Start,
    reason: &'a str,
    snapshot: Option<&'a str>,
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
    life: usize,
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
    /// The plan for programs; `command` tells the command line of a machine, and each has a decision how
    /// it is to start.
    pub fn view<'a>(&'a self, command: &CommandLine<'_>, decisions: &'a [Vec<Decision>]) -> PlanView<'a> {
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
            scenarios: self
                .scenarios
                .iter()
                .zip(decisions)
                .map(|(planned, decisions)| planned.view(command, decisions))
                .collect(),
            skipped: &self.skipped,
        }
    }
}

impl Planned {
    fn view<'a>(&'a self, command: &CommandLine<'_>, decisions: &'a [Decision]) -> ScenarioView<'a> {
        let machines = self.machines.iter().zip(decisions);
        ScenarioView {
            name: &self.scenario.name,
            file: self.scenario.file.as_str(),
            summary: &self.scenario.summary,
            tags: &self.scenario.tags,
            machines: machines.map(|(machine, decision)| machine.view(command, decision)).collect(),
            steps: self.steps.iter().map(|step| step.view(self.machine_of(step))).collect(),
            waive: &self.scenario.waive,
        }
    }

    /// The name of the machine that a step asks; empty where it is the only one.
    pub(crate) fn machine_of(&self, step: &PlannedStep) -> &str {
        self.machines.get(step.step.machine).map_or("", |machine| machine.name.as_str())
    }
}

impl PlannedMachine {
    fn view<'a>(&'a self, command: &CommandLine<'_>, decision: &'a Decision) -> MachineView<'a> {
        let served = self.plan.served.iter().map(|served| ServedView {
            path: &served.url_path,
            file: served.file.as_str(),
            sha512: &served.sha512,
        });
        MachineView {
            name: &self.name,
            spec: &self.plan.spec,
            address: self.plan.peer_address.map(PeerAddress::address),
            start: StartView { how: decision.start, reason: &decision.reason, snapshot: decision.snapshot() },
            command: command(&self.plan),
            ignition: serde_json::from_str(&self.plan.config.to_json()).unwrap_or(Value::Null),
            extensions: &self.extensions,
            served: served.collect(),
        }
    }
}

impl PlannedStep {
    fn view<'a>(&'a self, machine: &'a str) -> StepView<'a> {
        StepView {
            number: self.number,
            machine,
            life: self.life,
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
    /// The plan for people, with the decision how each machine is to start.
    pub fn text(&self, decisions: &[Vec<Decision>]) -> String {
        let mut text = String::new();
        // Nothing that is written to can fail.
        let _ = self.write(&mut text, decisions);
        text
    }

    fn write(&self, formatter: &mut String, decisions: &[Vec<Decision>]) -> fmt::Result {
        let name = self.image.facts.os_release.get("PRETTY_NAME").unwrap_or("an image without a name");
        writeln!(formatter, "image      {name}")?;
        writeln!(formatter, "           {}", self.image.disk)?;
        let accelerator = match self.acceleration.accelerator {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "TCG",
        };
        writeln!(formatter, "machines   {accelerator}: {}", self.acceleration.reason)?;
        for (planned, decisions) in self.scenarios.iter().zip(decisions) {
            formatter.push('\n');
            planned.write(formatter, decisions)?;
        }
        for skipped in &self.skipped {
            write!(formatter, "\n{}: skipped, {}\n", skipped.name, skipped.reason)?;
        }
        Ok(())
    }
}

impl Planned {
    fn write(&self, formatter: &mut String, decisions: &[Decision]) -> fmt::Result {
        writeln!(formatter, "{}: {}", self.scenario.name, self.scenario.summary)?;
        for (machine, decision) in self.machines.iter().zip(decisions) {
            machine.write(formatter, decision)?;
        }
        for step in &self.steps {
            let again = if step.hold && step.life > 0 { " (again)" } else { "" };
            let title = on(self.machine_of(step), &step.step.title());
            writeln!(formatter, "  {:>3}. {title}{again}", step.number)?;
        }
        for (sweep, reason) in &self.scenario.waive {
            writeln!(formatter, "  waived     sweep {sweep}: {reason}")?;
        }
        Ok(())
    }
}

/// What is said of one of several machines; of the only one it needs no name.
pub(crate) fn on(machine: &str, what: &str) -> String {
    if machine.is_empty() { what.to_owned() } else { format!("{machine}: {what}") }
}

impl PlannedMachine {
    fn write(&self, formatter: &mut String, decision: &Decision) -> fmt::Result {
        let spec = &self.plan.spec;
        let processors = spec.processors(self.plan.acceleration.accelerator);
        let size = format!("{} MiB, {processors} processors", spec.memory_mib);
        write!(formatter, "  machine    {}", on(&self.name, &size))?;
        if let Some(station) = self.plan.peer_address {
            write!(formatter, ", {}", station.address())?;
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
        writeln!(formatter, "  start      {}: {}", decision.start, decision.reason)?;
        for artefact in &self.extensions {
            let mut line = format!("  extension  {}", artefact.name);
            if let Some(format) = artefact.format {
                let _ = write!(line, ", {format}");
            }
            writeln!(formatter, "{line}, {} bytes, {}", artefact.size, artefact.delivered)?;
        }
        Ok(())
    }
}
