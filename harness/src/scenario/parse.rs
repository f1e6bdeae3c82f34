// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use loadgauge_host::suggest;
use loadgauge_host::toml_keys::{names, take_wrong_types};
use loadgauge_host::toml_syntax::explain_syntax;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::parse_machines::MachinesDraft;
use super::parse_parts::{requires, waive};
use super::parse_step::{ParsedStep, read_duration, step};
use super::problems::{ParseError, Problems};
use super::toml_values::{RawRequires, array, hint_for_unknown_key, read};
use super::{MachineRequest, ParseContext, Requires, Scenario, Step, keys};
use crate::check::Sweep;

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// The text is not TOML, a key is unknown, a value is not valid, a step has not exactly one kind, or
    /// a file that is named does not exist. All problems are reported at once.
    pub fn parse(text: &str, context: &ParseContext) -> Result<Self, ParseError> {
        let mut problems = Problems::new(&context.file, text);
        let (mut document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            for error in errors {
                let span = error.span().unwrap_or_default();
                let (cause, hint) = explain_syntax(error.message());
                problems.add(span, cause, hint);
            }
            return problems.finish(None);
        }
        for wrong in take_wrong_types(document.get_mut(), keys::SCENARIO) {
            problems.add_removed(wrong.span, wrong.inside, wrong.cause, Some(wrong.hint));
        }
        let mut draft = ScenarioDraft::default();
        for (key, value) in document.into_inner() {
            draft.add(&key, value, context, &mut problems);
        }
        let scenario = draft.finish(context, &mut problems);
        problems.finish(scenario)
    }
}

/// The keys that were read so far.
#[derive(Default)]
struct ScenarioDraft {
    summary: Option<String>,
    tags: Vec<String>,
    requires: Requires,
    timeout: Option<Duration>,
    waive: BTreeMap<Sweep, String>,
    machines: MachinesDraft,
    steps: Vec<ParsedStep>,
    hold: Vec<ParsedStep>,
}

impl ScenarioDraft {
    /// Adds a key of the document. After a problem the remaining keys are still read.
    fn add(
        &mut self,
        key: &Spanned<Cow<'_, str>>,
        value: Spanned<DeValue<'_>>,
        context: &ParseContext,
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
            "machine" | "sysext" | "ignition" => self.machines.add_single(key, value, context, problems),
            "machines" => self.machines.add_named(value, context, problems),
            "step" => {
                for value in array(value) {
                    self.steps.extend(step(value, context, problems));
                }
            }
            "hold" => {
                for value in array(value) {
                    self.hold.extend(step(value, context, problems));
                }
            }
            _ => {
                let hint = hint_for_unknown_key(name, &names(keys::SCENARIO));
                problems.add(key.span(), format!("unknown key `{name}`"), hint);
            }
        }
    }

    /// Validates what concerns the file as a whole.
    fn finish(self, context: &ParseContext, problems: &mut Problems<'_>) -> Option<Scenario> {
        let start: Range<usize> = 0..0;
        if problems.is_empty() && self.steps.is_empty() && self.hold.is_empty() {
            let hint = "add a `[[step]]` or a `[[hold]]` with what must hold".to_owned();
            problems.add(start.clone(), "the scenario checks nothing", Some(hint));
        }
        if problems.is_empty() && self.summary.as_deref().is_none_or(|summary| summary.trim().is_empty()) {
            let hint = "describe the scenario in one line: `summary = \"..\"`".to_owned();
            problems.add(start.clone(), "the scenario has no `summary`", Some(hint));
        }
        let machines = self.machines.finish(problems);
        let mut assign = |steps: Vec<ParsedStep>| -> Vec<Step> {
            steps.into_iter().filter_map(|step| assign_machine(step, &machines, problems)).collect()
        };
        let (hold, steps) = (assign(self.hold), assign(self.steps));
        for held in hold.iter().filter(|step| step.kind.is_action()) {
            let span = problems.span_of_line(held.line);
            let hint = "make it a `[[step]]`; `[[hold]]` is checked again after each action".to_owned();
            problems.add(span, "`[[hold]]` cannot be an action", Some(hint));
        }
        Some(Scenario {
            name: context.name.clone(),
            file: Some(context.file.clone()),
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

/// Resolves the name of a step's machine.
fn assign_machine(
    parsed: ParsedStep,
    machines: &[MachineRequest],
    problems: &mut Problems<'_>,
) -> Option<Step> {
    let ParsedStep { mut step, on } = parsed;
    let names = || machines.iter().map(|machine| machine.name.as_str());
    match on {
        None if machines.len() > 1 => {
            let span = problems.span_of_line(step.line);
            let names: Vec<&str> = names().collect();
            let hint = format!("add `on = \"{}\"`; the machines are `{}`", names[0], names.join("`, `"));
            problems.add(span, "the step does not name its machine", Some(hint));
            None
        }
        None => Some(step),
        Some(on) if machines.len() < 2 => {
            let hint = "remove `on`, or name several machines with `[machines.NAME]`".to_owned();
            problems.add(on.span(), "the only machine of the scenario has no name", Some(hint));
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
