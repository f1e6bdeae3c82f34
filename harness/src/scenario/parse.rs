// SPDX-License-Identifier: Apache-2.0
use loadgauge_host::suggest;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::format::{RawRequires, hint_for_unknown_key, read, type_of};
use super::parse_machines::Machines;
use super::parse_parts::{requires, waive};
use super::parse_step::{Addressed, read_duration, step};
use super::problem::{ParseError, Problems};
use super::{MachineRequest, Requires, Scenario, Step};
use crate::check::Sweep;

/// The keys of a scenario file.
pub(super) const KEYS: &[&str] = &[
    "summary", "tags", "requires", "timeout", "waive", "machine", "sysext", "ignition", "machines", "step",
    "hold",
];

/// Where a scenario file stands, and what it may name.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// what the scenario is called
    pub name: String,
    /// the file, as the user would name it; what it names relatively is beside it
    pub file: Utf8PathBuf,
    /// directories that recipes are looked for in by name, the first that has one counts
    pub recipes: Vec<Utf8PathBuf>,
}

impl Surroundings {
    /// The directory of the scenario file.
    pub(super) fn directory(&self) -> &Utf8Path {
        let directory = self.file.parent().filter(|directory| !directory.as_str().is_empty());
        directory.unwrap_or(Utf8Path::new("."))
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// The text is not TOML, a key is unknown, a value is not what its key takes, a step is not
    /// exactly one thing, or a file that is named does not exist. All of it is told at once.
    pub fn parse(text: &str, surroundings: &Surroundings) -> Result<Self, ParseError> {
        let mut problems = Problems::new(&surroundings.file, text);
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            for error in errors {
                let span = error.span().unwrap_or_default();
                problems.add(span, error.message().trim().replace('\n', "; "), None);
            }
            return problems.finish(None);
        }
        let mut draft = Draft::default();
        for (key, value) in document.into_inner() {
            draft.take(&key, value, surroundings, &mut problems);
        }
        let scenario = draft.finish(surroundings, &mut problems);
        problems.finish(scenario)
    }
}

/// What was read so far.
#[derive(Default)]
struct Draft {
    summary: Option<String>,
    tags: Vec<String>,
    requires: Requires,
    timeout: Option<Duration>,
    waive: BTreeMap<Sweep, String>,
    machines: Machines,
    steps: Vec<Addressed>,
    hold: Vec<Addressed>,
}

impl Draft {
    /// Takes one key of the document. What is wrong with it is told, and what can be read of
    /// the others still is.
    fn take(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: Spanned<DeValue<'_>>,
        surroundings: &Surroundings,
        problems: &mut Problems<'_>,
    ) {
        let name = key.get_ref().as_ref();
        match name {
            "summary" => self.summary = read(value, problems),
            "tags" => self.tags = read(value, problems).unwrap_or_default(),
            "timeout" => self.timeout = read_duration(value, problems),
            "waive" => self.waive = waive(value, problems),
            "requires" => {
                let raw = read::<RawRequires>(value, problems);
                self.requires = raw.and_then(|raw| requires(raw, problems)).unwrap_or_default();
            }
            "machine" | "sysext" | "ignition" => self.machines.only(key, value, surroundings, problems),
            "machines" => self.machines.named(value, surroundings, problems),
            "step" => {
                for value in array(name, value, problems) {
                    self.steps.extend(step(value, surroundings, problems));
                }
            }
            "hold" => {
                for value in array(name, value, problems) {
                    self.hold.extend(step(value, surroundings, problems));
                }
            }
            _ => {
                let hint = hint_for_unknown_key(name, KEYS.iter().copied());
                problems.add(key.span(), format!("unknown key `{name}`"), hint);
            }
        }
    }

    /// Judges what concerns the file as a whole.
    fn finish(self, surroundings: &Surroundings, problems: &mut Problems<'_>) -> Option<Scenario> {
        let start: Range<usize> = 0..0;
        if problems.is_empty() && self.steps.is_empty() && self.hold.is_empty() {
            let hint = "say what must hold in a `[[step]]` or a `[[hold]]`".to_owned();
            problems.add(start.clone(), "the scenario checks nothing", Some(hint));
        }
        if problems.is_empty() && self.summary.as_deref().is_none_or(|summary| summary.trim().is_empty()) {
            let hint = "say in a line what it is about: `summary = \"..\"`".to_owned();
            problems.add(start.clone(), "the scenario has no `summary`", Some(hint));
        }
        let machines = self.machines.finish(problems);
        let mut addressed = |steps: Vec<Addressed>| -> Vec<Step> {
            steps.into_iter().filter_map(|step| address(step, &machines, problems)).collect()
        };
        let (hold, steps) = (addressed(self.hold), addressed(self.steps));
        for held in hold.iter().filter(|step| step.kind.begins_a_life()) {
            let span = problems.span_of_line(held.line);
            let hint = "a change of life cycle is a `[[step]]`; `[[hold]]` is checked after each".to_owned();
            problems.add(span, "what must hold cannot be an action", Some(hint));
        }
        Some(Scenario {
            name: surroundings.name.clone(),
            file: surroundings.file.clone(),
            summary: self.summary?,
            tags: self.tags,
            requires: self.requires,
            machines,
            steps,
            hold,
            timeout: self.timeout,
            waive: self.waive,
        })
    }
}

/// Finds the machine that a step is for.
fn address(addressed: Addressed, machines: &[MachineRequest], problems: &mut Problems<'_>) -> Option<Step> {
    let Addressed { mut step, on } = addressed;
    let names = || machines.iter().map(|machine| machine.name.as_str());
    match on {
        None if machines.len() > 1 => {
            let span = problems.span_of_line(step.line);
            let names: Vec<&str> = names().collect();
            let hint = format!("write `on = \"{}\"`; there are `{}`", names[0], names.join("`, `"));
            problems.add(span, "the step does not say which machine it is for", Some(hint));
            None
        }
        None => Some(step),
        Some(on) if machines.len() < 2 => {
            let hint = "several have names: `[machines.NAME]`".to_owned();
            problems.add(on.span(), "the scenario has one machine, and it has no name", Some(hint));
            None
        }
        Some(on) => {
            let Some(machine) = names().position(|name| name == on.get_ref()) else {
                let hint = suggest::did_you_mean(on.get_ref(), names());
                problems.add(on.span(), format!("there is no machine `{}`", on.get_ref()), hint);
                return None;
            };
            step.machine = machine;
            Some(step)
        }
    }
}

/// The elements of `[[name]]`.
pub(super) fn array<'text>(
    name: &str,
    value: Spanned<DeValue<'text>>,
    problems: &mut Problems<'_>,
) -> Vec<Spanned<DeValue<'text>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(elements) => elements.into_iter().collect(),
        other => {
            let cause = format!("`{name}` is a list of tables, this is {}", type_of(&other));
            problems.add(span, cause, Some(format!("write `[[{name}]]`, once for each")));
            Vec::new()
        }
    }
}
